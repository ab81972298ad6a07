package io.emberlog;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkFirehoseListener;
import org.apache.spark.scheduler.SparkListenerEvent;

/**
 * Turns events into the text that Spark writes into its event log, by Spark's own JsonProtocol.
 *
 * <p>That class is internal to Spark: 3.4 to 4.0 take the event alone, later ones also take options, which Spark reads
 * from its configuration.
 */
final class EventSerializer {

    private static final String PROTOCOL = "org.apache.spark.util.JsonProtocol";
    private static final String OPTIONS = "org.apache.spark.util.JsonProtocolOptions";
    private static final String METHOD = "sparkEventToJsonString";

    private final MethodHandle toJson;

    EventSerializer(SparkConf conf) throws ReflectiveOperationException {
        MethodHandle found;
        try {
            found = withOptions(conf);
        } catch (ReflectiveOperationException e) {
            found = withoutOptions();
        }
        toJson = found.asType(MethodType.methodType(String.class, SparkListenerEvent.class));
    }

    String toJson(SparkListenerEvent event) throws Throwable {
        return (String) toJson.invokeExact(event);
    }

    private static MethodHandle withOptions(SparkConf conf) throws ReflectiveOperationException {
        Class<?> options = spark(OPTIONS);
        MethodHandle handle = MethodHandles.publicLookup().findStatic(spark(PROTOCOL), METHOD,
                MethodType.methodType(String.class, SparkListenerEvent.class, options));
        return MethodHandles.insertArguments(handle, 1, options.getConstructor(SparkConf.class).newInstance(conf));
    }

    private static MethodHandle withoutOptions() throws ReflectiveOperationException {
        return MethodHandles.publicLookup().findStatic(spark(PROTOCOL), METHOD,
                MethodType.methodType(String.class, SparkListenerEvent.class));
    }

    private static Class<?> spark(String name) throws ClassNotFoundException {
        return Class.forName(name, true, SparkFirehoseListener.class.getClassLoader());
    }
}
