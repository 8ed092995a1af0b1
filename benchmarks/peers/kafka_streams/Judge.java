import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Limit, then match: what `benchmarks/peers/verdicts.py` does, for campaigns on the score. */
final class Judge {
  private static final UUID DELIVERY = UUID.fromString("4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7c02");

  record Entry(long acceptedAt, String completionId, String quizId) {}

  record Judged(GenericRecord outcome, List<GenericRecord> matches) {}

  private record Condition(String op, double bound) {
    boolean holds(double score) {
      return switch (op) {
        case "gte" -> score >= bound;
        case "gt" -> score > bound;
        case "lte" -> score <= bound;
        case "lt" -> score < bound;
        case "eq" -> score == bound;
        default -> throw new IllegalArgumentException(op);
      };
    }
  }

  private record Campaign(
      String id, int version, int month, String tenant, String quiz, List<Condition> conditions) {}

  /** A contact's memory in the store. */
  static final Serde<List<Entry>> MEMORY =
      Serdes.serdeFrom((topic, memory) -> write(memory), (topic, bytes) -> read(bytes));

  private final Schema outcomes;
  private final Schema campaignsMatched;
  private final Schema verdicts;
  private final Schema matches;
  private final List<Campaign> campaigns = new ArrayList<>();
  private final int contactLimit;
  private final long contactMs;
  private final int quizLimit;
  private final long quizMs;
  private final int rememberedMax;

  Judge(JsonNode work) {
    outcomes = schema(work, "outcome");
    campaignsMatched = outcomes.getField("campaigns").schema().getElementType();
    verdicts = outcomes.getField("verdict").schema();
    matches = schema(work, "match");
    JsonNode windows = work.get("windows");
    contactLimit = windows.get("contact").get("limit").asInt();
    contactMs = 1000L * windows.get("contact").get("window_s").asLong();
    quizLimit = windows.get("contact_quiz").get("limit").asInt();
    quizMs = 1000L * windows.get("contact_quiz").get("window_s").asLong();
    rememberedMax = windows.get("remembered_per_contact_max").asInt();
    for (JsonNode campaign : work.get("campaigns")) {
      List<Condition> conditions = new ArrayList<>();
      for (JsonNode condition : campaign.get("conditions")) {
        conditions.add(
            new Condition(condition.get("op").asText(), condition.get("values").get(0).asDouble()));
      }
      campaigns.add(
          new Campaign(
              campaign.get("campaign_id").asText(),
              campaign.get("version").asInt(),
              campaign.get("month").asInt(),
              campaign.get("tenant_id").asText(),
              campaign.get("quiz_ids").get(0).asText(),
              conditions));
    }
  }

  static Schema schema(JsonNode work, String event) {
    Schema schema = new Schema.Parser().parse(work.get("schemas").get(event).get("text").asText());
    strings(schema);
    return schema;
  }

  /** Strings of the language, where Avro would make its own. */
  private static void strings(Schema schema) {
    switch (schema.getType()) {
      case STRING -> GenericData.setStringType(schema, GenericData.StringType.String);
      case MAP -> {
        GenericData.setStringType(schema, GenericData.StringType.String);
        strings(schema.getValueType());
      }
      case ARRAY -> strings(schema.getElementType());
      case UNION -> schema.getTypes().forEach(Judge::strings);
      case RECORD -> schema.getFields().forEach(field -> strings(field.schema()));
      default -> {}
    }
  }

  /** Appends to `memory` what is allowed. */
  Judged judge(GenericRecord completion, int partition, long offset, List<Entry> memory) {
    long at = (Long) completion.get("accepted_at");
    String id = completion.get("completion_id").toString();
    String quiz = completion.get("quiz_id").toString();
    int ofContact = 0;
    int ofQuiz = 0;
    boolean known = false;
    for (Entry entry : memory) {
      known |= entry.completionId().equals(id);
      if (entry.acceptedAt() > at) continue;
      if (entry.acceptedAt() > at - contactMs) ofContact++;
      if (entry.acceptedAt() > at - quizMs && entry.quizId().equals(quiz)) ofQuiz++;
    }
    String reason = "";
    List<GenericRecord> found = new ArrayList<>();
    String verdict;
    if (!known && (ofContact >= contactLimit || ofQuiz >= quizLimit)) {
      verdict = "limited";
      reason = ofContact >= contactLimit ? "contact" : "contact_quiz";
    } else {
      if (!known) {
        memory.add(new Entry(at, id, quiz));
        if (memory.size() > rememberedMax) memory.remove(0);
      }
      match(completion, quiz, found);
      verdict = found.isEmpty() ? "unmatched" : "matched";
    }
    return new Judged(outcome(completion, verdict, reason, found, partition, offset), found);
  }

  private void match(GenericRecord completion, String quiz, List<GenericRecord> found) {
    Object score = completion.get("score");
    GenericRecord personal = (GenericRecord) completion.get("personal");
    if (score == null || personal.get("phone") == null) return;
    String tenant = completion.get("tenant_id").toString();
    for (Campaign campaign : campaigns) {
      if (!campaign.quiz().equals(quiz) || !campaign.tenant().equals(tenant)) continue;
      boolean holds = true;
      for (Condition condition : campaign.conditions()) {
        holds &= condition.holds((Double) score);
      }
      if (holds) found.add(matched(completion, campaign, personal));
    }
  }

  private GenericRecord matched(GenericRecord completion, Campaign campaign, GenericRecord of) {
    GenericRecord match = new GenericData.Record(matches);
    String contact = completion.get("contact_id").toString();
    for (String field :
        List.of("tenant_id", "contact_id", "completion_id", "quiz_id", "day", "accepted_at")) {
      match.put(field, completion.get(field));
    }
    match.put("delivery_id", deliveryId(campaign.id(), contact));
    match.put("campaign_id", campaign.id());
    match.put("campaign_version", campaign.version());
    match.put("campaign_month", campaign.month());
    match.put("priority", 0);
    match.put("delay_s", 0L);
    match.put("variables", Map.of());
    GenericRecord personal = new GenericData.Record(matches.getField("personal").schema());
    for (String field : List.of("phone", "name", "email")) personal.put(field, of.get(field));
    match.put("personal", personal);
    return match;
  }

  private GenericRecord outcome(
      GenericRecord completion,
      String verdict,
      String reason,
      List<GenericRecord> found,
      int partition,
      long offset) {
    GenericRecord outcome = new GenericData.Record(outcomes);
    for (String field :
        List.of("completion_id", "tenant_id", "quiz_id", "contact_id", "day", "accepted_at")) {
      outcome.put(field, completion.get(field));
    }
    outcome.put("verdict", new GenericData.EnumSymbol(verdicts, verdict));
    outcome.put("reason", reason);
    List<GenericRecord> of = new ArrayList<>(found.size());
    for (GenericRecord match : found) {
      GenericRecord campaign = new GenericData.Record(campaignsMatched);
      campaign.put("campaign_id", match.get("campaign_id"));
      campaign.put("version", match.get("campaign_version"));
      of.add(campaign);
    }
    outcome.put("campaigns", of);
    outcome.put("source_partition", partition);
    outcome.put("source_offset", offset);
    return outcome;
  }

  /** UUID of version 5 over the framed parts, as `schemas/ids.py` makes it. */
  private static String deliveryId(String campaign, String contact) {
    String framed = campaign.length() + ":" + campaign + contact.length() + ":" + contact;
    try {
      MessageDigest sha1 = MessageDigest.getInstance("SHA-1");
      sha1.update(
          ByteBuffer.allocate(16)
              .putLong(DELIVERY.getMostSignificantBits())
              .putLong(DELIVERY.getLeastSignificantBits())
              .array());
      ByteBuffer hash = ByteBuffer.wrap(sha1.digest(framed.getBytes(StandardCharsets.UTF_8)));
      long high = (hash.getLong() & ~0xF000L) | 0x5000L;
      long low = (hash.getLong() & 0x3FFFFFFFFFFFFFFFL) | 0x8000000000000000L;
      return new UUID(high, low).toString();
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException(error);
    }
  }

  private static byte[] write(List<Entry> memory) {
    if (memory == null) return null;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(64 * memory.size() + 4);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      out.writeInt(memory.size());
      for (Entry entry : memory) {
        out.writeLong(entry.acceptedAt());
        out.writeUTF(entry.completionId());
        out.writeUTF(entry.quizId());
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return bytes.toByteArray();
  }

  private static List<Entry> read(byte[] bytes) {
    if (bytes == null) return null;
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
      int count = in.readInt();
      List<Entry> memory = new ArrayList<>(count + 1);
      for (int i = 0; i < count; i++) {
        memory.add(new Entry(in.readLong(), in.readUTF(), in.readUTF()));
      }
      return memory;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
