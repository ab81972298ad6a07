package io.emberlog;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.net.ssl.SSLHandshakeException;

/**
 * Decides what is sent when, and what an answer means. It has no thread and never waits: {@link #step} does what is due
 * and says how long there is nothing to do.
 *
 * <p>Payloads leave strictly in order, one at a time. While the server is away events are compressed into full
 * payloads, so that the memory holds some thirty times more of them.
 */
final class Sender {

    /** After a refusal that only a person can cure. */
    private static final Duration REFUSED = Duration.ofSeconds(60);
    private static final Duration LONGEST_RETRY_AFTER = Duration.ofMinutes(5);
    /** When the application ends there is no time for long rests. */
    private static final Duration LONGEST_WHEN_ENDING = Duration.ofSeconds(1);
    private static final Duration DROPS_SAID_EVERY = Duration.ofMinutes(1);

    private final Settings settings;
    private final Clock clock;
    private final Outbox outbox;
    private final PayloadWriter writer;
    private final Transport transport;
    private final Backoff backoff;
    private final DriverLog log;
    private final ArrayDeque<Payload> payloads = new ArrayDeque<>();
    private final Set<Integer> refusalsSaid = new HashSet<>();
    private long flushAt;
    private long heartbeatAt;
    private long dropsSaid;
    private long dropsSaidAt;
    private boolean failing;
    private long restUntil;
    private boolean restDemanded;
    private boolean ending;

    Sender(Settings settings, Clock clock, Outbox outbox, PayloadWriter writer, Transport transport, Backoff backoff,
            DriverLog log) {
        this.settings = settings;
        this.clock = clock;
        this.outbox = outbox;
        this.writer = writer;
        this.transport = transport;
        this.backoff = backoff;
        this.log = log;
        long now = clock.nanos();
        restUntil = now;
        flushAt = now + settings.flushInterval.toNanos();
        heartbeatAt = now + settings.heartbeatInterval.toNanos();
        dropsSaidAt = now - DROPS_SAID_EVERY.toNanos();
    }

    /** Does what is due, and returns for how long nothing will be, unless the outbox gets a reason to send. */
    long step() throws IOException {
        sayDropsNowAndThen();
        pack();
        long rest = restNanos();
        if (rest > 0) {
            return rest;
        }
        if (!payloads.isEmpty()) {
            deliver(payloads.peek());
            return 0;
        }
        long now = clock.nanos();
        if (isEnding()) {
            return Math.max(0, flushAt - now);
        }
        if (now - heartbeatAt >= 0) {
            heartbeatAt = now + settings.heartbeatInterval.toNanos();
            deliverHeartbeat();
        }
        return Math.max(0, Math.min(flushAt - now, heartbeatAt - now));
    }

    /** Whether only full payloads are worth making now. */
    boolean isPatient() {
        return restNanos() > 0 || !payloads.isEmpty();
    }

    /** For how long it leaves the server alone. */
    synchronized long restNanos() {
        return Math.max(0, restUntil - clock.nanos());
    }

    /** The application ends: the next attempt is made at once, unless the server itself has asked for a rest. */
    synchronized void end() {
        ending = true;
        if (!restDemanded) {
            restUntil = clock.nanos();
        }
    }

    /** Says how many events are lost, if there are more than it has said. */
    synchronized void sayDrops() {
        long dropped = outbox.dropped();
        if (dropped > dropsSaid) {
            dropsSaid = dropped;
            dropsSaidAt = clock.nanos();
            log.warn("Emberlog has lost " + dropped + " events of this application so far: no room in the buffer of "
                    + settings.bufferBytes + " bytes (spark.emberlog.buffer.size), or refused by the server");
        }
    }

    private synchronized void sayDropsNowAndThen() {
        if (clock.nanos() - dropsSaidAt >= DROPS_SAID_EVERY.toNanos()) {
            sayDrops();
        }
    }

    /** Keeps away from what should not have happened. */
    void restAfterFault() {
        rest(backoff.jittered(REFUSED), 0);
    }

    private synchronized boolean isEnding() {
        return ending;
    }

    /** The server knows best when to come back; what it asks for takes the place of our own guess. */
    private synchronized void rest(Duration own, long retryAfterMillis) {
        restDemanded = retryAfterMillis > 0;
        Duration rest = restDemanded
                ? Duration.ofMillis(Math.min(retryAfterMillis, LONGEST_RETRY_AFTER.toMillis())).plus(backoff.spread())
                : own;
        restUntil = clock.nanos() + rest.toNanos();
    }

    private void pack() throws IOException {
        long now = clock.nanos();
        if (now - flushAt >= 0) {
            flushAt = now + settings.flushInterval.toNanos();
            outbox.requestFlush();
        }
        while (!outbox.isEmpty() && outbox.isDue(isPatient())) {
            List<Message> messages = outbox.take();
            long weight = 0;
            for (Message message : messages) {
                weight += message.weight();
            }
            Payload payload = writer.events(messages);
            outbox.repacked(weight, payload.weight());
            payloads.add(payload);
        }
    }

    private void deliver(Payload payload) throws IOException {
        Transport.Answer answer = post(payload);
        if (answer == null) {
            return;
        }
        switch (answer.status) {
            case 200:
                payloads.remove();
                outbox.sent(payload);
                break;
            case 413:
                payloads.remove();
                shrink(payload, answer);
                break;
            case 400:
            case 422:
                // It will never be accepted, and the events behind it may be.
                payloads.remove();
                outbox.discarded(payload);
                refused(answer, payload.count + " events are dropped");
                break;
            default:
                refused(answer, "events are kept while there is room");
        }
    }

    private void deliverHeartbeat() throws IOException {
        Transport.Answer answer = post(writer.heartbeat());
        if (answer != null && answer.status != 200) {
            refused(answer, "events are kept while there is room");
        }
    }

    /** Returns null after a failure that time may cure. */
    private Transport.Answer post(Payload payload) {
        Transport.Answer answer;
        try {
            answer = transport.post(payload.body);
        } catch (IOException e) {
            failed("does not answer (" + e + ")" + adviceFor(e), 0);
            return null;
        }
        if (isTransient(answer.status)) {
            failed("answers " + answer.status + " (" + answer.message + ")", answer.retryAfterMillis);
            return null;
        }
        if (answer.status == 200) {
            backoff.reset();
            if (failing) {
                failing = false;
                log.info("Emberlog at " + settings.url + " answers again");
            }
        }
        return answer;
    }

    private static String adviceFor(IOException e) {
        return e instanceof SSLHandshakeException
                ? "; if its certificate is signed by an authority of your own, name that in spark.emberlog.caFile"
                : "";
    }

    private static boolean isTransient(int status) {
        return status >= 500 || status == 408 || status == 425 || status == 429;
    }

    private void failed(String how, long retryAfterMillis) {
        if (!failing) {
            failing = true;
            log.warn("Emberlog at " + settings.url + " " + how + "; events are kept while there is room, trying again");
        }
        Duration pause = backoff.next();
        boolean shorten = isEnding() && pause.compareTo(LONGEST_WHEN_ENDING) > 0;
        rest(shorten ? LONGEST_WHEN_ENDING : pause, retryAfterMillis);
    }

    private void refused(Transport.Answer answer, String consequence) {
        sayRefusal(answer, consequence + ", the next attempt follows in about a minute");
        rest(backoff.jittered(REFUSED), answer.retryAfterMillis);
    }

    private void shrink(Payload payload, Transport.Answer answer) throws IOException {
        if (payload.count == 1) {
            outbox.discarded(payload);
            sayRefusal(answer, "an event that is too large by itself is dropped");
            rest(backoff.next(), answer.retryAfterMillis);
            return;
        }
        List<Payload> halves = writer.halves(payload);
        long weight = 0;
        for (int i = halves.size() - 1; i >= 0; i--) {
            payloads.addFirst(halves.get(i));
            weight += halves.get(i).weight();
        }
        outbox.repacked(payload.weight(), weight);
    }

    private void sayRefusal(Transport.Answer answer, String consequence) {
        if (refusalsSaid.add(answer.status)) {
            log.warn("Emberlog at " + settings.url + " refuses events with status " + answer.status + " ("
                    + answer.message + "): " + consequence + ". This is said once.");
        }
    }
}
