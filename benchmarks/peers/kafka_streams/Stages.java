import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The stages on Kafka Streams: the DSL, processors with persistent stores where there is state, changelogs
 * and caching on, at least once, the framework's own commit interval. One argument: a file with the work.
 */
public final class Stages {
  private static final double SKIPPED_RATIO = 0.1; // the other sides skip less: here a compiler warms up

  public static void main(String[] arguments) throws Exception {
    JsonNode work = new ObjectMapper().readTree(Files.readAllBytes(Path.of(arguments[0])));
    Meter meter = new Meter(work.get("records").asLong());
    StreamsBuilder builder = new StreamsBuilder();
    switch (work.get("way").asText()) {
      case "qualify" -> qualify(builder, work, meter);
      case "dedup" -> dedup(builder, work, meter);
      default -> empty(builder, work, meter);
    }
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, work.get("group").asText());
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, work.get("bootstrap").asText());
    properties.put(StreamsConfig.STATE_DIR_CONFIG, work.get("datadir").asText());
    properties.put("auto.offset.reset", "earliest");
    KafkaStreams streams = new KafkaStreams(builder.build(), properties);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    streams.start();
    meter.last.await();
    streams.close(Duration.ofSeconds(60)); // flushes, commits, leaves
    meter.end(Path.of(work.get("out").asText()));
  }

  private static void empty(StreamsBuilder builder, JsonNode work, Meter meter) {
    builder
        .stream(source(work), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
        .foreach((key, value) -> meter.count());
  }

  private static void qualify(StreamsBuilder builder, JsonNode work, Meter meter) {
    Serde<GenericRecord> completions = Codec.of(work, "completion");
    Serde<GenericRecord> outcomes = Codec.of(work, "outcome");
    Serde<GenericRecord> matches = Codec.of(work, "match");
    Judge judge = new Judge(work);
    StoreBuilder<KeyValueStore<byte[], List<Judge.Entry>>> store =
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("allowed"), Serdes.ByteArray(), Judge.MEMORY)
            .withCachingEnabled();
    builder.addStateStore(store);
    KStream<byte[], Judge.Judged> judged =
        builder
            .stream(source(work), Consumed.with(Serdes.ByteArray(), completions))
            .process(() -> new Qualify(judge, meter), "allowed");
    judged
        .mapValues(Judge.Judged::outcome)
        .to(topic(work, "outcomes"), Produced.with(Serdes.ByteArray(), outcomes));
    judged
        .flatMap(
            (key, value) -> {
              List<KeyValue<byte[], GenericRecord>> found = new ArrayList<>(value.matches().size());
              for (GenericRecord match : value.matches()) {
                String pair = match.get("campaign_id") + "|" + match.get("contact_id");
                found.add(KeyValue.pair(pair.getBytes(StandardCharsets.UTF_8), match));
              }
              return found;
            })
        .to(topic(work, "matches"), Produced.with(Serdes.ByteArray(), matches));
  }

  private static void dedup(StreamsBuilder builder, JsonNode work, Meter meter) {
    Serde<GenericRecord> matches = Codec.of(work, "match");
    Serde<GenericRecord> duplicates = Codec.of(work, "duplicate");
    StoreBuilder<KeyValueStore<byte[], String>> store =
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("first"), Serdes.ByteArray(), Serdes.String())
            .withCachingEnabled();
    builder.addStateStore(store);
    Map<String, KStream<byte[], First>> split =
        builder
            .stream(source(work), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .process(() -> new Dedup(matches, Judge.schema(work, "duplicate"), meter), "first")
            .split(org.apache.kafka.streams.kstream.Named.as("to-"))
            .branch((key, first) -> first.duplicate() == null, branch("deliveries"))
            .defaultBranch(branch("duplicates"));
    split
        .get("to-deliveries")
        .mapValues(First::bytes)
        .to(topic(work, "deliveries"), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
    split
        .get("to-duplicates")
        .mapValues(First::duplicate)
        .to(topic(work, "duplicates"), Produced.with(Serdes.ByteArray(), duplicates));
  }

  private static org.apache.kafka.streams.kstream.Branched<byte[], First> branch(String name) {
    return org.apache.kafka.streams.kstream.Branched.as(name);
  }

  private static String source(JsonNode work) {
    return work.get("source").asText();
  }

  private static String topic(JsonNode work, String role) {
    return work.get("topics").get(role).asText();
  }

  /** Limit and match, with the contact's memory in the store. */
  private static final class Qualify
      implements Processor<byte[], GenericRecord, byte[], Judge.Judged> {
    private final Judge judge;
    private final Meter meter;
    private ProcessorContext<byte[], Judge.Judged> context;
    private KeyValueStore<byte[], List<Judge.Entry>> allowed;

    Qualify(Judge judge, Meter meter) {
      this.judge = judge;
      this.meter = meter;
    }

    @Override
    public void init(ProcessorContext<byte[], Judge.Judged> context) {
      this.context = context;
      allowed = context.getStateStore("allowed");
    }

    @Override
    public void process(Record<byte[], GenericRecord> record) {
      List<Judge.Entry> memory = allowed.get(record.key());
      if (memory == null) memory = new ArrayList<>();
      var at = context.recordMetadata().orElseThrow();
      int remembered = memory.size();
      Judge.Judged judged = judge.judge(record.value(), at.partition(), at.offset(), memory);
      if (memory.size() != remembered) allowed.put(record.key(), memory);
      context.forward(record.withValue(judged));
      meter.count();
    }
  }

  /** The match as it came, and what it duplicates, if it does. */
  private record First(byte[] bytes, GenericRecord duplicate) {}

  private static final class Dedup implements Processor<byte[], byte[], byte[], First> {
    private final Serde<GenericRecord> matches;
    private final org.apache.avro.Schema duplicates;
    private final Meter meter;
    private ProcessorContext<byte[], First> context;
    private KeyValueStore<byte[], String> seen;

    Dedup(Serde<GenericRecord> matches, org.apache.avro.Schema duplicates, Meter meter) {
      this.matches = matches;
      this.duplicates = duplicates;
      this.meter = meter;
    }

    @Override
    public void init(ProcessorContext<byte[], First> context) {
      this.context = context;
      seen = context.getStateStore("first");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      GenericRecord match = matches.deserializer().deserialize("", record.value());
      String completion = match.get("completion_id").toString();
      String first = seen.putIfAbsent(record.key(), completion);
      GenericRecord duplicate = null;
      if (first != null && !first.equals(completion)) {
        duplicate = new GenericData.Record(duplicates);
        for (String field :
            List.of("tenant_id", "campaign_id", "contact_id", "completion_id", "day", "accepted_at")) {
          duplicate.put(field, match.get(field));
        }
        duplicate.put("first_completion_id", first);
      }
      context.forward(record.withValue(new First(record.value(), duplicate)));
      meter.count();
    }
  }

  /** From after the first tenth until all is committed. */
  private static final class Meter {
    final CountDownLatch last = new CountDownLatch(1);
    private final OperatingSystemMXBean system =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final long records;
    private final long skipped;
    private long seen;
    private volatile long beganNs;
    private volatile long beganCpuNs;

    Meter(long records) {
      this.records = records;
      this.skipped = (long) (records * SKIPPED_RATIO);
    }

    synchronized void count() {
      seen++;
      if (seen == skipped) {
        beganNs = System.nanoTime();
        beganCpuNs = system.getProcessCpuTime();
      }
      if (seen == records) last.countDown();
    }

    void end(Path out) throws Exception {
      double wallS = (System.nanoTime() - beganNs) / 1e9;
      double cpuS = (system.getProcessCpuTime() - beganCpuNs) / 1e9;
      Files.writeString(
          out,
          "{\"records\": %d, \"wall_s\": %.6f, \"cpu_s\": %.6f}"
              .formatted(records - skipped, wallS, cpuS));
    }
  }
}
