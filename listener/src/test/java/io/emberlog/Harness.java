package io.emberlog;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A sender on a fake clock, stepped by hand. */
final class Harness {

    final FakeClock clock = new FakeClock();
    final Settings settings = new Settings();
    final List<String> warnings = new CopyOnWriteArrayList<>();
    final List<String> infos = new CopyOnWriteArrayList<>();
    final DriverLog log = new DriverLog() {
        @Override
        public void info(String line) {
            infos.add(line);
        }

        @Override
        public void warn(String line) {
            warnings.add(line);
        }
    };
    Outbox outbox;
    Sender sender;

    Harness(String url) throws IOException {
        settings.url = url;
        // More than a machine that stands still for seconds takes.
        settings.connectTimeout = Duration.ofMinutes(2);
        settings.readTimeout = Duration.ofMinutes(2);
        build(clock);
    }

    /** Takes changed settings into account. */
    void build(Clock time) throws IOException {
        outbox = new Outbox(time, settings.bufferBytes);
        PayloadWriter writer = new PayloadWriter(time, new Run("job \"é\" / 😀", "local-1"), "the-instance");
        sender = new Sender(settings, time, outbox, writer, new Transport(settings, time), new Backoff(() -> 1.0), log);
    }

    void add(String content) {
        outbox.add(Json.utf8(content), false);
    }

    void addMilestone(String content) {
        outbox.add(Json.utf8(content), true);
    }

    /** Steps until nothing is due. */
    Duration settle() throws IOException {
        for (int i = 0; i < 10_000; i++) {
            long nanos = sender.step();
            if (nanos > 0) {
                return Duration.ofNanos(nanos);
            }
        }
        throw new IllegalStateException("the sender never rests");
    }

    Duration settleAfter(Duration time) throws IOException {
        clock.advance(time);
        return settle();
    }
}
