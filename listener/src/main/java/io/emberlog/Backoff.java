package io.emberlog;

import java.time.Duration;
import java.util.function.DoubleSupplier;

/** How long to rest after failures in a row: doubling, with jitter so that many drivers do not return at once. */
final class Backoff {

    private static final Duration FIRST = Duration.ofMillis(500);
    private static final Duration LONGEST = Duration.ofSeconds(30);

    private final DoubleSupplier random;
    private int failures;

    /** @param random gives numbers from 0 to 1 */
    Backoff(DoubleSupplier random) {
        this.random = random;
    }

    void reset() {
        failures = 0;
    }

    /** Between half and the whole of the doubled time. */
    Duration next() {
        long whole = Math.min(FIRST.toMillis() << Math.min(failures, 16), LONGEST.toMillis());
        failures++;
        return jittered(Duration.ofMillis(whole));
    }

    /** A little more than what a server asked for, so that not everybody returns in the same moment. */
    Duration spread() {
        return Duration.ofMillis((long) (FIRST.toMillis() * random.getAsDouble()));
    }

    Duration jittered(Duration whole) {
        return Duration.ofMillis((long) (whole.toMillis() * (0.5 + random.getAsDouble() / 2)));
    }
}
