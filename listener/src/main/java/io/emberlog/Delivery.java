package io.emberlog;

import java.util.concurrent.TimeUnit;

/** Runs a {@link Sender} on a daemon thread, and waits for it when the application ends. */
final class Delivery {

    /** In a notebook's JVM, which outlives the application, late events still have this long. */
    private static final long LINGER_NANOS = TimeUnit.MINUTES.toNanos(5);

    private final Outbox outbox;
    private final Sender sender;
    private final DriverLog log;
    private final long lingerNanos;
    private final Object progress = new Object();
    private final Thread thread = new Thread(this::run, "emberlog-sender");
    private final Thread shutdownHook = new Thread(this::goDown, "emberlog-shutdown");
    private long waitNanos;
    private boolean faultSaid;
    private volatile boolean unsentSaid;
    private volatile boolean goesDown;
    private volatile boolean ended;
    private volatile long endedAt;

    Delivery(Settings settings, Outbox outbox, Sender sender, DriverLog log) {
        this(settings, outbox, sender, log, LINGER_NANOS);
    }

    Delivery(Settings settings, Outbox outbox, Sender sender, DriverLog log, long lingerNanos) {
        this.lingerNanos = lingerNanos;
        this.outbox = outbox;
        this.sender = sender;
        this.log = log;
        this.waitNanos = settings.drainTimeout.toNanos();
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
        try {
            Runtime.getRuntime().addShutdownHook(shutdownHook);
        } catch (IllegalStateException e) {
            // The JVM is going down already.
        }
    }

    /**
     * Waits until everything is sent, but over all calls together no longer than the configured time, and not at all
     * for a server that will be left alone for longer than that.
     */
    void drain() {
        if (!ended) {
            endedAt = System.nanoTime();
            ended = true;
        }
        sender.end();
        outbox.requestFlush();
        outbox.wake();
        long begin = System.nanoTime();
        synchronized (progress) {
            long left = waitNanos;
            while (outbox.heldEvents() > 0 && left > 0 && sender.restNanos() <= left) {
                try {
                    progress.wait(left / 1_000_000 + 1);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    break;
                }
                left = waitNanos - (System.nanoTime() - begin);
            }
            waitNanos = Math.max(0, waitNanos - (System.nanoTime() - begin));
        }
        sender.sayDrops();
        long unsent = outbox.heldEvents();
        if (unsent > 0 && !unsentSaid) {
            unsentSaid = true;
            log.warn("Emberlog has not got " + unsent + " events of this application; they are lost if the driver ends now");
        }
    }

    /** The JVM ends. */
    void goDown() {
        goesDown = true;
        drain();
    }

    /**
     * For events behind the application's end. While the JVM goes on, its end will wait for them; when a shutdown hook of
     * Spark's own stops the context, nobody else may.
     */
    void drainIfGoingDown() {
        if (goesDown) {
            drain();
        }
    }

    /** The thread's last word: nobody else will send what is held. */
    private void sayGivenUp() {
        sender.sayDrops();
        long unsent = outbox.heldEvents();
        if (unsent > 0) {
            log.warn("Emberlog has not got " + unsent + " events of this application, and they are given up "
                    + TimeUnit.NANOSECONDS.toSeconds(lingerNanos) + " s after its end");
        }
    }

    private void run() {
        try {
            while (!ended || System.nanoTime() - endedAt < lingerNanos) {
                long nanos = step();
                synchronized (progress) {
                    progress.notifyAll();
                }
                outbox.await(nanos, sender.isPatient());
            }
            sayGivenUp();
            Runtime.getRuntime().removeShutdownHook(shutdownHook);
        } catch (InterruptedException | IllegalStateException e) {
            // Somebody stops every thread, or the JVM is going down: there is nothing left to do.
        }
    }

    private long step() {
        try {
            return sender.step();
        } catch (Throwable t) {
            if (!faultSaid) {
                faultSaid = true;
                log.warn("Emberlog cannot send events: " + t);
            }
            sender.restAfterFault();
            return sender.restNanos();
        }
    }
}
