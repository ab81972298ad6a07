package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.HashSet;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TextTest {

    @Test
    void every_character_survives_escaping() throws IOException {
        StringBuilder all = new StringBuilder();
        for (int c = 0; c <= Character.MAX_CODE_POINT; c++) {
            if (c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE) {
                all.appendCodePoint(c);
            }
        }
        assertEquals(all.toString(), TestJson.parse(escaped(all.toString())));
    }

    @Test
    void any_mixture_survives_escaping() throws IOException {
        Random random = new Random(7);
        String[] pieces = {"\"", "\\", "\n", "\r", "\u0000", "\u001f", "\u007f", "\u2028", "/", "é", "😀", "a", "\\u0041"};
        for (int round = 0; round < 2_000; round++) {
            StringBuilder text = new StringBuilder();
            for (int i = random.nextInt(20); i > 0; i--) {
                text.append(pieces[random.nextInt(pieces.length)]);
            }
            String escaped = escaped(text.toString());
            assertEquals(text.toString(), TestJson.parse(escaped));
            assertTrue(escaped.indexOf('\n') < 0, "payloads are split at newlines");
        }
    }

    @Test
    void an_unpaired_surrogate_becomes_a_question_mark() throws IOException {
        assertEquals("a?b", TestJson.parse(escaped("a\ud83db")));
    }

    @Test
    void an_error_answer_speaks_through_its_message() {
        assertEquals("no token", Json.messageOf("{\"type\":\"x\", \"message\" : \"no token\",\"detail\":\"other\"}"));
        assertEquals("say \"é\" twice", Json.messageOf("{\"message\":\"say \\\"\\u00e9\\\"\\ntwice\"}"));
        assertEquals("<html> Bad gateway", Json.messageOf("<html>\r\n\u001b Bad gateway"));
        assertEquals("", Json.messageOf(""));
        assertTrue(Json.messageOf(new String(new char[4_000]).replace('\0', 'x')).length() < 600);
        assertTrue(Json.messageOf("{\"message\":\"" + new String(new char[2_000]).replace("\0", "\\n")).length() < 600);
    }

    @Test
    void any_name_is_one_path_segment() {
        Run run = new Run("a/b c%?#é😀\n\"", "local-1");
        assertEquals("http://h:1/job/a%2Fb%20c%25%3F%23%C3%A9%F0%9F%98%80%0A%22/local-1/events", run.eventsUrl("http://h:1"));
    }

    @Test
    void rests_are_jittered_between_half_and_the_whole_and_end_at_thirty_seconds() {
        for (int i = 0; i < 50; i++) {
            int random = i;
            Backoff backoff = new Backoff(() -> random / 49.0);
            long whole = 500;
            for (int failure = 0; failure < 40; failure++) {
                Duration rest = backoff.next();
                assertTrue(rest.toMillis() >= whole / 2 && rest.toMillis() <= whole, rest + " of " + whole);
                assertEquals((long) (whole * (0.5 + random / 98.0)), rest.toMillis());
                whole = Math.min(2 * whole, 30_000);
            }
        }
    }

    @Test
    void events_are_told_apart_by_their_class() {
        EventFilter filter = new EventFilter(new Settings().excludedEvents);
        assertEquals(EventFilter.Kind.EXCLUDED, filter.kindOf("org.apache.spark.scheduler.SparkListenerBlockUpdated"));
        assertEquals(EventFilter.Kind.ORDINARY, filter.kindOf("org.apache.spark.scheduler.SparkListenerTaskEnd"));
        assertEquals(EventFilter.Kind.MILESTONE, filter.kindOf("org.apache.spark.scheduler.SparkListenerJobEnd"));
        assertEquals(EventFilter.Kind.MILESTONE,
                filter.kindOf("org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent"));
        EventFilter other = new EventFilter(new HashSet<>(Collections.singleton("com.acme.Noise")));
        assertEquals(EventFilter.Kind.EXCLUDED, other.kindOf("com.acme.Noise"));
        assertEquals(EventFilter.Kind.ORDINARY, other.kindOf("org.apache.spark.scheduler.SparkListenerBlockUpdated"));
    }

    private static String escaped(String text) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Json.writeString(out, Json.utf8(text));
        return new String(out.toByteArray(), StandardCharsets.UTF_8);
    }
}
