package io.emberlog;

import java.net.MalformedURLException;
import java.net.URL;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import javax.net.ssl.SSLSocketFactory;
import org.apache.spark.SparkConf;

/** The {@code spark.emberlog.*} properties; README.md describes each. */
final class Settings {

    /** What Spark's own event log leaves out by default, so that both hold the same events. */
    static final String NOT_IN_EVENT_LOG = "SparkListenerBlockUpdated,SparkListenerExecutorMetricsUpdate,"
            + "SparkListenerSpeculativeTaskSubmitted,SparkListenerUnschedulableTaskSetAdded,"
            + "SparkListenerUnschedulableTaskSetRemoved";

    String url = "http://127.0.0.1:5000";
    String token = "";
    /** Null for what the JVM trusts. One for all requests: Java uses a connection again only with the same. */
    SSLSocketFactory sockets;
    long bufferBytes = 64L << 20;
    Duration flushInterval = Duration.ofSeconds(1);
    Duration heartbeatInterval = Duration.ofSeconds(10);
    Duration connectTimeout = Duration.ofSeconds(5);
    Duration readTimeout = Duration.ofSeconds(10);
    Duration drainTimeout = Duration.ofSeconds(10);
    Set<String> excludedEvents = names(NOT_IN_EVENT_LOG);

    /** @throws IllegalArgumentException naming the property that cannot be used */
    static Settings from(SparkConf conf) {
        Settings settings = new Settings();
        settings.url = baseUrl(conf.get("spark.emberlog.url", settings.url));
        settings.token = token(conf.get("spark.emberlog.token.secret", settings.token).trim());
        String caFile = conf.get("spark.emberlog.caFile", "").trim();
        settings.sockets = caFile.isEmpty() ? null : Authorities.trusting(caFile);
        settings.bufferBytes = positive("spark.emberlog.buffer.size",
                conf.getSizeAsBytes("spark.emberlog.buffer.size", settings.bufferBytes + "b"));
        settings.flushInterval = duration(conf, "spark.emberlog.flush.interval", settings.flushInterval);
        settings.heartbeatInterval = duration(conf, "spark.emberlog.heartbeat.interval", settings.heartbeatInterval);
        settings.connectTimeout = duration(conf, "spark.emberlog.connect.timeout", settings.connectTimeout);
        settings.readTimeout = duration(conf, "spark.emberlog.read.timeout", settings.readTimeout);
        settings.drainTimeout = duration(conf, "spark.emberlog.drain.timeout", settings.drainTimeout);
        settings.excludedEvents = names(conf.get("spark.emberlog.excludedEvents", NOT_IN_EVENT_LOG));
        return settings;
    }

    private static String baseUrl(String value) {
        String trimmed = value.trim().replaceAll("/+$", "");
        try {
            String protocol = new URL(trimmed).getProtocol();
            if (protocol.equals("http") || protocol.equals("https")) {
                return trimmed;
            }
        } catch (MalformedURLException e) {
            // Falls through to the same advice.
        }
        throw new IllegalArgumentException(
                "spark.emberlog.url is '" + value + "', expected something like http://127.0.0.1:5000");
    }

    private static String token(String value) {
        // Java would refuse it later, with the token in the text of its exception.
        if (!value.matches("[\\x21-\\x7e]*")) {
            throw new IllegalArgumentException(
                    "spark.emberlog.token.secret holds characters that cannot stand in an HTTP header");
        }
        return value;
    }

    private static Duration duration(SparkConf conf, String key, Duration preset) {
        return Duration.ofMillis(positive(key, conf.getTimeAsMs(key, preset.toMillis() + "ms")));
    }

    private static long positive(String key, long value) {
        if (value <= 0) {
            throw new IllegalArgumentException(key + " must be greater than zero");
        }
        return value;
    }

    private static Set<String> names(String list) {
        return new HashSet<>(Arrays.asList(list.trim().split("[,\\s]+")));
    }
}
