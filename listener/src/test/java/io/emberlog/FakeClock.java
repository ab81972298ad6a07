package io.emberlog;

import java.time.Duration;

/** A clock that stands still until it is told otherwise. */
final class FakeClock implements Clock {

    private volatile long epochMillis = 1_700_000_000_000L;
    private volatile long nanos = 42;

    @Override
    public long epochMillis() {
        return epochMillis;
    }

    @Override
    public long nanos() {
        return nanos;
    }

    void advance(Duration time) {
        advanceNanos(time.toNanos());
    }

    void advanceNanos(long time) {
        nanos += time;
        epochMillis += time / 1_000_000;
    }

    void setEpochMillis(long time) {
        epochMillis = time;
    }
}
