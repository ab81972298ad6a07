package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SenderTest {

    private TestServer server;
    private Harness harness;

    @BeforeEach
    void start() throws IOException {
        server = new TestServer();
        harness = new Harness(server.url());
        harness.settings.token = "a-token";
    }

    @AfterEach
    void stop() {
        server.close();
    }

    @Test
    void a_payload_names_its_run_its_instance_and_its_sender() throws IOException {
        harness.addMilestone("{\"Event\":\"A\"}");
        harness.settle();
        TestServer.Request request = server.requests.get(0);
        assertEquals("job \"é\" / 😀", request.body.get("job_name"));
        assertEquals("local-1", request.body.get("run_id"));
        assertEquals("the-instance", request.body.get("instance_id"));
        assertEquals("Bearer a-token", request.authorization);
        assertEquals("spark-event", request.messages().get(0).get("message_type"));
    }

    @Test
    void a_retry_repeats_the_payload_byte_for_byte() throws IOException {
        server.answers = request -> server.requests.size() < 2 ? "503" : "200";
        harness.add("one");
        harness.addMilestone("two");
        harness.settle();
        harness.addMilestone("three");
        harness.settleAfter(Duration.ofMillis(500));
        harness.settleAfter(Duration.ofMillis(1000));
        assertEquals(4, server.requests.size());
        assertArrayEquals(server.requests.get(0).raw, server.requests.get(1).raw);
        assertArrayEquals(server.requests.get(0).raw, server.requests.get(2).raw);
        assertEquals(sequences(0, 3), server.storedSequences());
        assertEquals(0, harness.outbox.heldBytes());
    }

    @Test
    void rests_double_while_the_server_is_away_and_start_again_after_a_success() throws IOException {
        server.answers = request -> "503";
        harness.addMilestone("one");
        assertEquals(Duration.ofMillis(500), harness.settle());
        assertEquals(Duration.ofMillis(300), harness.settleAfter(Duration.ofMillis(200)), "no attempt before its time");
        assertEquals(Duration.ofMillis(1000), harness.settleAfter(Duration.ofMillis(300)));
        assertEquals(Duration.ofMillis(2000), harness.settleAfter(Duration.ofMillis(1000)));
        assertEquals(3, server.requests.size());
        server.answers = request -> "200";
        harness.settleAfter(Duration.ofMillis(2000));
        server.answers = request -> "503";
        harness.addMilestone("two");
        assertEquals(Duration.ofMillis(500), harness.settle());
        assertEquals(2, harness.warnings.size(), "one line for each outage: " + harness.warnings);
        assertEquals(1, harness.infos.size());
    }

    @Test
    void retry_after_is_honoured_in_seconds_and_as_a_date_and_when_ending() throws IOException {
        server.answers = request -> "503|Retry-After:7";
        harness.addMilestone("one");
        assertEquals(Duration.ofMillis(7_500), harness.settle());
        harness.sender.end();
        assertEquals(Duration.ofMillis(7_500), harness.settle());
        assertEquals(1, server.requests.size());
        String date = DateTimeFormatter.RFC_1123_DATE_TIME.format(
                Instant.ofEpochMilli(harness.clock.epochMillis() + 34_000).atZone(ZoneOffset.UTC));
        server.answers = request -> "503|Retry-After:" + date;
        Duration rest = harness.settleAfter(Duration.ofMillis(7_500));
        assertTrue(rest.compareTo(Duration.ofSeconds(25)) > 0 && rest.compareTo(Duration.ofSeconds(27)) <= 0, "" + rest);
    }

    @Test
    void an_end_cuts_the_rest_that_nobody_asked_for() throws IOException {
        server.answers = request -> server.requests.size() < 8 ? "503" : "200";
        harness.addMilestone("one");
        for (Duration rest = harness.settle(); server.requests.size() < 8; rest = harness.settleAfter(rest)) {
            assertTrue(rest.compareTo(Duration.ofSeconds(30)) <= 0);
        }
        harness.sender.end();
        harness.settle();
        assertEquals(sequences(0, 1), server.storedSequences());
    }

    @Test
    void a_payload_too_large_is_halved_and_keeps_its_sequences() throws IOException {
        server.answers = request -> request.messages().size() > 2 ? "413" : "200";
        for (int i = 0; i < 9; i++) {
            harness.add("event \n \"" + i + "\" é😀");
        }
        harness.settleAfter(Duration.ofSeconds(1));
        assertEquals(sequences(0, 9), server.storedSequences());
        List<String> contents = server.requests.stream().filter(request -> request.answer.equals("200"))
                .flatMap(request -> request.contents().stream()).collect(Collectors.toList());
        for (int i = 0; i < 9; i++) {
            assertEquals("event \n \"" + i + "\" é😀", contents.get(i));
        }
        assertEquals(0, harness.outbox.heldBytes());
        assertEquals(0, harness.outbox.dropped());
    }

    @Test
    void an_event_too_large_by_itself_is_dropped_counted_and_said_once() throws IOException {
        server.answers = request -> request.contents().contains("large") ? "413" : "200";
        for (String content : Arrays.asList("a", "large", "b", "c", "large", "d")) {
            harness.add(content);
        }
        harness.settleAfter(Duration.ofSeconds(1));
        for (int i = 0; i < 10; i++) {
            harness.settleAfter(Duration.ofSeconds(5));
        }
        assertEquals(Arrays.asList(0L, 2L, 3L, 5L), server.storedSequences());
        assertEquals(2, harness.outbox.dropped());
        assertEquals(0, harness.outbox.heldBytes());
        assertEquals(1, harness.warnings.stream().filter(line -> line.contains("413")).count());
        assertTrue(harness.warnings.stream().anyMatch(line -> line.contains("lost 1 events") || line.contains("lost 2 events")));
    }

    @Test
    void a_refusal_is_said_once_with_the_servers_words_and_the_server_is_left_alone() throws IOException {
        for (String status : Arrays.asList("400", "401")) {
            server.requests.clear();
            harness.warnings.clear();
            harness.build(harness.clock);
            server.answers = request -> status;
            for (int minute = 0; minute < 5; minute++) {
                harness.addMilestone("event " + minute);
                for (int second = 0; second < 60; second++) {
                    harness.settleAfter(Duration.ofSeconds(1));
                }
            }
            assertTrue(server.requests.size() <= 6, status + " was asked for " + server.requests.size() + " times");
            assertTrue(server.requests.size() >= 4, status + " was asked for " + server.requests.size() + " times");
            List<String> said = harness.warnings.stream().filter(line -> line.contains("status " + status))
                    .collect(Collectors.toList());
            assertEquals(1, said.size(), said.toString());
            assertTrue(said.get(0).contains("(explained by the \"server\")"), said.get(0));
        }
    }

    @Test
    void events_survive_a_wrong_token() throws IOException {
        server.answers = request -> "401";
        harness.addMilestone("one");
        harness.settle();
        server.answers = request -> "200";
        harness.settleAfter(Duration.ofSeconds(60));
        assertEquals(sequences(0, 1), server.storedSequences());
    }

    @Test
    void one_refused_payload_does_not_hold_up_those_behind_it() throws IOException {
        server.answers = request -> request.contents().contains("poison") ? "400" : "200";
        harness.addMilestone("a");
        harness.settle();
        harness.addMilestone("poison");
        harness.settle();
        harness.addMilestone("b");
        harness.settleAfter(Duration.ofSeconds(60));
        assertEquals(Arrays.asList(0L, 2L), server.storedSequences());
        assertEquals(1, harness.outbox.dropped());
    }

    @Test
    void heartbeats_travel_alone_every_ten_seconds_and_are_not_counted() throws IOException {
        harness.addMilestone("a");
        harness.settle();
        for (int second = 0; second < 25; second++) {
            harness.settleAfter(Duration.ofSeconds(1));
        }
        harness.addMilestone("b");
        harness.settle();
        List<TestServer.Request> heartbeats = server.requests.stream().filter(TestServer.Request::isHeartbeat)
                .collect(Collectors.toList());
        assertEquals(2, heartbeats.size());
        for (TestServer.Request heartbeat : heartbeats) {
            assertEquals(1, heartbeat.messages().size());
            assertEquals(1, heartbeat.messageCounter());
        }
        assertEquals(sequences(0, 2), server.storedSequences());
    }

    @Test
    void events_leave_after_a_second_or_when_there_are_a_thousand_or_at_a_milestone() throws IOException {
        harness.add("ordinary");
        harness.settleAfter(Duration.ofMillis(900));
        assertEquals(0, server.requests.size());
        harness.settleAfter(Duration.ofMillis(100));
        assertEquals(1, server.requests.size());
        for (int i = 0; i < 999; i++) {
            harness.add("ordinary");
        }
        harness.settle();
        assertEquals(1, server.requests.size());
        harness.add("the thousandth");
        harness.settle();
        assertEquals(2, server.requests.size());
        harness.addMilestone("milestone");
        harness.settle();
        assertEquals(3, server.requests.size());
        assertEquals(sequences(0, 1002), server.storedSequences());
    }

    @Test
    void an_outage_collects_full_payloads_that_take_less_memory_than_their_events() throws IOException {
        server.answers = request -> "503";
        long bytes = 0;
        for (int i = 0; i < 5_500; i++) {
            String content = "{\"Event\":\"SparkListenerTaskEnd\",\"Stage ID\":0,\"Task Info\":{\"Task ID\":" + i + "}}";
            bytes += content.length();
            harness.addMilestone(content);
            harness.settle();
        }
        assertTrue(harness.outbox.heldBytes() < bytes / 2, harness.outbox.heldBytes() + " of " + bytes);
        server.requests.clear();
        server.answers = request -> "200";
        harness.settleAfter(Duration.ofSeconds(30));
        assertEquals(sequences(0, 5_500), server.storedSequences());
        long payloads = server.requests.stream().filter(request -> !request.isHeartbeat()).count();
        assertTrue(payloads <= 7, payloads + " payloads");
    }

    @Test
    void the_connection_is_used_again_after_good_and_bad_answers() throws IOException {
        server.answers = request -> server.requests.size() % 2 == 0 ? "503" : "200";
        long connections = 0;
        // Java gives an idle one up after five seconds, for which a machine may stand still.
        for (int attempt = 0; attempt < 5 && connections != 1; attempt++) {
            server.requests.clear();
            for (int i = 0; i < 6; i++) {
                harness.addMilestone("event " + i);
                harness.settleAfter(Duration.ofSeconds(1));
            }
            assertTrue(server.requests.size() >= 6);
            connections = server.requests.stream().map(request -> request.clientPort).distinct().count();
        }
        assertEquals(1, connections);
    }

    @Test
    void a_server_that_comes_late_gets_everything() throws IOException {
        int port = server.port();
        server.close();
        harness.addMilestone("one");
        harness.settle();
        harness.addMilestone("two");
        harness.settle();
        assertEquals(1, harness.warnings.size());
        try (TestServer late = new TestServer(port)) {
            harness.settleAfter(Duration.ofSeconds(1));
            assertEquals(sequences(0, 2), late.storedSequences());
        }
    }

    private static List<Long> sequences(long from, long to) {
        return from == to ? Collections.emptyList() : LongStream.range(from, to).boxed().collect(Collectors.toList());
    }
}
