package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class OutboxTest {

    private final FakeClock clock = new FakeClock();

    @Test
    void generated_at_never_goes_back() {
        Outbox outbox = new Outbox(clock, 1 << 20);
        long[] times = {1000, 2000, 500, 1999, 2001, -5};
        for (long time : times) {
            clock.setEpochMillis(time);
            outbox.add(new byte[1], false);
        }
        List<Long> generatedAt = new ArrayList<>();
        for (Message message : outbox.take()) {
            generatedAt.add(message.generatedAt);
        }
        assertEquals(java.util.Arrays.asList(1000L, 2000L, 2000L, 2000L, 2001L, 2001L), generatedAt);
    }

    @Test
    void memory_is_bounded_and_what_finds_no_room_is_counted() {
        Outbox outbox = new Outbox(clock, 100_000);
        for (int i = 0; i < 1_000; i++) {
            outbox.add(new byte[1_000], false);
            assertTrue(outbox.heldBytes() <= 100_000);
        }
        assertEquals(1_000, outbox.heldEvents() + outbox.dropped());
        assertTrue(outbox.heldEvents() > 50 && outbox.dropped() > 800);
    }

    @Test
    void milestones_still_find_room_when_ordinary_events_do_not() {
        Outbox outbox = new Outbox(clock, 100_000);
        for (int i = 0; i < 1_000; i++) {
            outbox.add(new byte[1_000], false);
        }
        long dropped = outbox.dropped();
        outbox.add(new byte[1_000], true);
        assertEquals(dropped, outbox.dropped());
    }

    @Test
    void dropped_events_leave_a_gap_that_the_server_sees() throws IOException {
        try (TestServer server = new TestServer()) {
            Harness harness = new Harness(server.url());
            harness.settings.bufferBytes = 10_000;
            harness.build(harness.clock);
            String content = new String(new char[900]).replace('\0', 'x');
            for (int i = 0; i < 20; i++) {
                harness.add(content);
            }
            long dropped = harness.outbox.dropped();
            assertTrue(dropped > 5, dropped + " dropped");
            harness.settleAfter(Duration.ofSeconds(1));
            harness.addMilestone("after");
            harness.settle();
            List<Long> stored = server.storedSequences();
            assertEquals(20 - dropped + 1, stored.size());
            assertEquals(20L, stored.get(stored.size() - 1));
            assertEquals(1, harness.warnings.size(), "" + harness.warnings);
            assertTrue(harness.warnings.get(0).contains("lost " + dropped + " events"));
        }
    }

    @Test
    void a_payload_never_spans_a_gap() {
        Outbox outbox = new Outbox(clock, 1 << 20);
        outbox.add(new byte[1], false);
        outbox.skip();
        outbox.add(new byte[1], false);
        outbox.add(new byte[1], false);
        assertEquals(1, outbox.take().size());
        List<Message> second = outbox.take();
        assertEquals(2, second.size());
        assertEquals(2, second.get(0).sequence);
        assertEquals(1, outbox.dropped());
    }

    @Test
    void a_payload_is_bounded_in_events_and_in_bytes() {
        Outbox outbox = new Outbox(clock, 1L << 30);
        for (int i = 0; i < 1_500; i++) {
            outbox.add(new byte[10], false);
        }
        assertEquals(1_000, outbox.take().size());
        assertEquals(500, outbox.take().size());
        for (int i = 0; i < 20; i++) {
            outbox.add(new byte[1 << 20], false);
        }
        assertEquals(7, outbox.take().size());
    }
}
