package io.emberlog;

import java.io.IOException;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkFirehoseListener;
import org.apache.spark.scheduler.SparkListenerApplicationEnd;
import org.apache.spark.scheduler.SparkListenerApplicationStart;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.scheduler.SparkListenerLogStart;

/**
 * Sends the events of a Spark application to Emberlog. Spark makes one for each SparkContext when
 * {@code spark.extraListeners} names this class.
 *
 * <p>Whatever goes wrong in here, the application goes on.
 */
public final class EmberlogListener extends SparkFirehoseListener {

    private final DriverLog.Slf4j log = new DriverLog.Slf4j();
    private final String instanceId = UUID.randomUUID().toString();
    private SparkConf conf;
    private Settings settings;
    private EventFilter filter;
    private EventSerializer serializer;
    private Outbox outbox;
    private Delivery delivery;
    private boolean active;
    private boolean ended;
    private boolean faultSaid;

    public EmberlogListener(SparkConf conf) {
        try {
            if (!conf.getBoolean("spark.emberlog.enabled", true)) {
                return;
            }
            this.conf = conf;
            settings = Settings.from(conf);
            filter = new EventFilter(settings.excludedEvents);
            serializer = new EventSerializer(conf);
            outbox = new Outbox(Clock.SYSTEM, settings.bufferBytes);
            active = true;
            String runId = conf.get("spark.app.id", "");
            if (!runId.isEmpty()) {
                startDelivery(runId);
            }
            // Spark's own event log begins with it, and it never travels over Spark's listener bus.
            add(new SparkListenerLogStart(org.apache.spark.package$.MODULE$.SPARK_VERSION()), false);
        } catch (Throwable t) {
            active = false;
            log.warn("Emberlog gets no events of this application: " + t);
        }
    }

    /** For tests: a listener whose events stay in the outbox. */
    EmberlogListener(Settings settings, EventSerializer serializer, Outbox outbox) {
        this.settings = settings;
        this.filter = new EventFilter(settings.excludedEvents);
        this.serializer = serializer;
        this.outbox = outbox;
        this.active = true;
    }

    @Override
    public void onEvent(SparkListenerEvent event) {
        if (!active) {
            return;
        }
        try {
            handle(event);
        } catch (Throwable t) {
            contain(t);
        }
    }

    private void handle(SparkListenerEvent event) throws IOException {
        EventFilter.Kind kind = filter.kindOf(event.getClass());
        if (kind == EventFilter.Kind.EXCLUDED || !event.logEvent()) {
            return;
        }
        // Spark may post a few more events behind the application's end.
        add(event, kind == EventFilter.Kind.MILESTONE || ended);
        if (event instanceof SparkListenerApplicationStart && delivery == null) {
            scala.Option<String> id = ((SparkListenerApplicationStart) event).appId();
            startDelivery(id.isDefined() ? id.get() : instanceId);
        }
        if (event instanceof SparkListenerApplicationEnd && delivery != null) {
            ended = true;
            delivery.drain();
        } else if (ended) {
            delivery.drainIfGoingDown();
        }
    }

    /** Serialises here and now, since Spark goes on changing some of the objects behind the events. */
    private void add(SparkListenerEvent event, boolean milestone) {
        byte[] content;
        try {
            content = Json.utf8(serializer.toJson(event));
        } catch (Throwable t) {
            outbox.skip();
            contain(t);
            return;
        }
        outbox.add(content, milestone);
    }

    private void startDelivery(String runId) throws IOException {
        String name = conf.get("spark.emberlog.jobName", "");
        if (name.trim().isEmpty()) {
            name = conf.get("spark.app.name", "");
        }
        Run run = new Run(name.isEmpty() ? "unnamed" : name, runId);
        PayloadWriter writer = new PayloadWriter(Clock.SYSTEM, run, instanceId);
        Transport transport = new Transport(settings, Clock.SYSTEM);
        Backoff backoff = new Backoff(() -> ThreadLocalRandom.current().nextDouble());
        Sender sender = new Sender(settings, Clock.SYSTEM, outbox, writer, transport, backoff, log);
        delivery = new Delivery(settings, outbox, sender, log);
        delivery.start();
        log.announce("Emberlog gets the events of this run: " + run.eventsUrl(settings.url));
    }

    private void contain(Throwable t) {
        if (!faultSaid) {
            faultSaid = true;
            log.warn("Emberlog cannot handle an event: " + t + ". This is said once.");
        }
    }
}
