package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** With real threads and real time. */
class DeliveryTest {

    @Test
    void the_end_waits_until_everything_is_sent() throws IOException {
        try (TestServer server = new TestServer()) {
            server.answers = request -> server.requests.size() < 2 ? "503" : "200";
            Harness harness = harness(server, Duration.ofMinutes(2));
            Delivery delivery = new Delivery(harness.settings, harness.outbox, harness.sender, harness.log);
            delivery.start();
            for (int i = 0; i < 2_500; i++) {
                harness.add("event " + i);
            }
            delivery.drain();
            assertEquals(2_500, server.storedSequences().size());
        }
    }

    @Test
    void what_comes_behind_the_end_is_waited_for_only_while_the_machine_goes_down() throws IOException {
        CountDownLatch open = new CountDownLatch(1);
        try (TestServer server = new TestServer()) {
            server.answers = request -> {
                if (request.contents().contains("behind the end")) {
                    stored(open, Duration.ofDays(1));
                }
                // Longer than it takes to look at what was stored.
                return stored(new CountDownLatch(1), Duration.ofMillis(500));
            };
            Harness harness = harness(server, Duration.ofMinutes(2));
            Delivery delivery = new Delivery(harness.settings, harness.outbox, harness.sender, harness.log);
            delivery.start();
            harness.addMilestone("the end");
            delivery.drain();
            harness.addMilestone("behind the end");
            long begin = System.nanoTime();
            delivery.drainIfGoingDown();
            assertTrue(System.nanoTime() - begin < Duration.ofMinutes(1).toNanos());
            open.countDown();
            delivery.goDown();
            assertEquals(2, server.storedSequences().size());
            harness.addMilestone("the last");
            delivery.drainIfGoingDown();
            assertEquals(3, server.storedSequences().size());
        } finally {
            open.countDown();
        }
    }

    @Test
    void the_end_waits_for_a_hanging_server_no_longer_than_configured_over_all_calls() throws IOException {
        CountDownLatch never = new CountDownLatch(1);
        try (TestServer server = new TestServer()) {
            server.answers = request -> stored(never, Duration.ofDays(1));
            Harness harness = harness(server, Duration.ofMillis(600));
            Delivery delivery = new Delivery(harness.settings, harness.outbox, harness.sender, harness.log);
            delivery.start();
            harness.addMilestone("one");
            long begin = System.nanoTime();
            delivery.drain();
            long first = System.nanoTime() - begin;
            // A machine may stand still during one of them, but not during all.
            long shortest = Long.MAX_VALUE;
            for (int i = 0; i < 10; i++) {
                long again = System.nanoTime();
                delivery.drain();
                shortest = Math.min(shortest, System.nanoTime() - again);
            }
            assertTrue(first >= Duration.ofMillis(500).toNanos(), "waited only " + first);
            assertTrue(first < Duration.ofMinutes(1).toNanos(), "waited " + first);
            assertTrue(shortest < Duration.ofMillis(400).toNanos(), "waited again " + shortest);
            assertTrue(harness.warnings.stream().anyMatch(line -> line.contains("has not got 1 events")));
        } finally {
            never.countDown();
        }
    }

    @Test
    void the_end_does_not_wait_for_a_server_that_refuses() throws IOException {
        try (TestServer server = new TestServer()) {
            server.answers = request -> "401";
            // A machine may stand still during one of them, but not during all.
            long shortest = Long.MAX_VALUE;
            for (int i = 0; i < 5 && shortest >= Duration.ofSeconds(5).toNanos(); i++) {
                Harness harness = harness(server, Duration.ofSeconds(10));
                Delivery delivery = new Delivery(harness.settings, harness.outbox, harness.sender, harness.log);
                delivery.start();
                harness.addMilestone("one");
                long begin = System.nanoTime();
                delivery.drain();
                shortest = Math.min(shortest, System.nanoTime() - begin);
            }
            assertTrue(shortest < Duration.ofSeconds(5).toNanos(), "waited " + shortest);
        }
    }

    @Test
    void what_is_given_up_after_the_end_is_counted() throws Exception {
        try (TestServer server = new TestServer()) {
            server.answers = request -> "503";
            Harness harness = harness(server, Duration.ofMillis(100));
            long linger = Duration.ofMillis(300).toNanos();
            Delivery delivery = new Delivery(harness.settings, harness.outbox, harness.sender, harness.log, linger);
            delivery.start();
            harness.addMilestone("one");
            harness.addMilestone("two");
            delivery.drain();
            long begin = System.nanoTime();
            while (harness.warnings.stream().noneMatch(line -> line.contains("has not got 2 events of this application, and they are given up"))) {
                assertTrue(System.nanoTime() - begin < Duration.ofSeconds(60).toNanos(), "not said: " + harness.warnings);
                Thread.sleep(20);
            }
        }
    }

    @Test
    void events_are_taken_at_once_while_the_server_hangs() throws IOException {
        CountDownLatch never = new CountDownLatch(1);
        try (TestServer server = new TestServer()) {
            server.answers = request -> stored(never, Duration.ofDays(1));
            Harness harness = harness(server, Duration.ofMillis(1));
            new Delivery(harness.settings, harness.outbox, harness.sender, harness.log).start();
            long begin = System.nanoTime();
            for (int i = 0; i < 10_000; i++) {
                harness.addMilestone("event " + i);
            }
            // One that waited for the server would wait for two minutes.
            assertTrue(System.nanoTime() - begin < Duration.ofMinutes(1).toNanos());
        } finally {
            never.countDown();
        }
    }

    /** The answer of a server that hangs until the latch opens, but not longer. */
    private static String stored(CountDownLatch latch, Duration longest) {
        try {
            latch.await(longest.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return "200";
    }

    private static Harness harness(TestServer server, Duration drainTimeout) throws IOException {
        Harness harness = new Harness(server.url());
        harness.settings.drainTimeout = drainTimeout;
        harness.build(Clock.SYSTEM);
        return harness;
    }
}
