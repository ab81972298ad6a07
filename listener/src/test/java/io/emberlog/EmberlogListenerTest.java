package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.apache.spark.scheduler.SparkListenerUnpersistRDD;
import org.junit.jupiter.api.Test;

/** Of Spark, the tests' class path holds only the core: most of what that needs is missing, as in a Spark that differs. */
class EmberlogListenerTest {

    @Test
    void a_failing_start_does_not_break_the_application() {
        EmberlogListener listener = new EmberlogListener(null);
        listener.onEvent(new SparkListenerUnpersistRDD(1));
    }

    @Test
    void missing_classes_cost_an_event_but_not_the_application() throws ReflectiveOperationException {
        EventSerializer serializer = new EventSerializer(null);
        SparkListenerUnpersistRDD event = new SparkListenerUnpersistRDD(1);
        assertThrows(LinkageError.class, () -> serializer.toJson(event));
        Outbox outbox = new Outbox(Clock.SYSTEM, 1 << 20);
        EmberlogListener listener = new EmberlogListener(new Settings(), serializer, outbox);
        listener.onEvent(event);
        listener.onEvent(null);
        listener.onEvent(event);
        assertEquals(2, outbox.dropped());
    }
}
