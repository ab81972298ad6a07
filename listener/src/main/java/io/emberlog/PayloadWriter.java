package io.emberlog;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Writes payloads of the documented protocol, gzip-compressed.
 *
 * <p>{@code counters.message_counter} is the sequence after the payload's last event, so that the server's formula,
 * {@code message_counter - len(messages) + i}, gives each event the sequence that it got when it happened. Heartbeats
 * are not counted: they travel alone, with the counter where the last payload left it.
 */
final class PayloadWriter {

    private final Clock clock;
    private final Run run;
    private final String instanceId;
    private long payloadCounter;
    private long messageCounter;

    PayloadWriter(Clock clock, Run run, String instanceId) {
        this.clock = clock;
        this.run = run;
        this.instanceId = instanceId;
    }

    Payload events(List<Message> messages) throws IOException {
        long first = messages.get(0).sequence;
        messageCounter = first + messages.size();
        return write(first, messages.size(), out -> {
            for (int i = 0; i < messages.size(); i++) {
                Message message = messages.get(i);
                writeMessage(out, message.content, message.generatedAt, "spark-event", i == messages.size() - 1);
            }
        });
    }

    Payload heartbeat() throws IOException {
        byte[] nothing = {};
        return write(messageCounter - 1, 1,
                out -> writeMessage(out, nothing, clock.epochMillis(), "heartbeat", true));
    }

    /** The same events, with the same sequences, in two payloads. */
    List<Payload> halves(Payload payload) throws IOException {
        List<String> lines = messageLines(payload);
        int half = lines.size() / 2;
        List<Payload> halves = new ArrayList<>();
        halves.add(copy(payload.firstSequence, lines.subList(0, half)));
        halves.add(copy(payload.firstSequence + half, lines.subList(half, lines.size())));
        return Collections.unmodifiableList(halves);
    }

    private Payload copy(long firstSequence, List<String> lines) throws IOException {
        return write(firstSequence, lines.size(), out -> {
            for (int i = 0; i < lines.size(); i++) {
                out.write(Json.utf8(lines.get(i)));
                out.write(Json.utf8(i < lines.size() - 1 ? ",\n" : "\n"));
            }
        });
    }

    private Payload write(long firstSequence, int count, Content messages) throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream(16 * 1024);
        try (OutputStream out = new GZIPOutputStream(body, 8 * 1024)) {
            out.write(Json.utf8("{\"job_name\":"));
            Json.writeString(out, Json.utf8(run.job));
            out.write(Json.utf8(",\"run_id\":"));
            Json.writeString(out, Json.utf8(run.id));
            out.write(Json.utf8(",\"instance_id\":\"" + instanceId + "\",\"counters\":{\"message_counter\":"
                    + (firstSequence + count) + ",\"payload_counter\":" + ++payloadCounter + "},\"sent_at\":"
                    + clock.epochMillis() + ",\"messages\":[\n"));
            messages.writeTo(out);
            out.write(Json.utf8("]}\n"));
        }
        return new Payload(firstSequence, count, body.toByteArray());
    }

    /** One message a line, which {@link #messageLines} relies upon: a JSON string holds no raw newline. */
    private static void writeMessage(OutputStream out, byte[] content, long generatedAt, String type, boolean last)
            throws IOException {
        out.write(Json.utf8("{\"content\":"));
        Json.writeString(out, content);
        out.write(Json.utf8(",\"generated_at\":" + generatedAt + ",\"message_type\":\"" + type + "\"}"
                + (last ? "\n" : ",\n")));
    }

    private static List<String> messageLines(Payload payload) throws IOException {
        List<String> lines = new ArrayList<>(payload.count);
        try (BufferedReader reader = new BufferedReader(new InputStreamReader(
                new GZIPInputStream(new ByteArrayInputStream(payload.body)), StandardCharsets.UTF_8))) {
            reader.readLine();
            for (int i = 0; i < payload.count; i++) {
                String line = reader.readLine();
                lines.add(i < payload.count - 1 ? line.substring(0, line.length() - 1) : line);
            }
        }
        return lines;
    }

    @FunctionalInterface
    private interface Content {
        void writeTo(OutputStream out) throws IOException;
    }
}
