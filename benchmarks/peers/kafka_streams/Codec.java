import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Avro behind Confluent's five bytes: 0 and the schema's id. One stream thread uses each codec. */
final class Codec {
  private static final int HEADER_BYTES = 5;

  private final Schema schema;
  private final int id;
  private final GenericDatumReader<GenericRecord> reader;
  private final GenericDatumWriter<GenericRecord> writer;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream(1024);
  private BinaryDecoder decoder;
  private BinaryEncoder encoder;

  private Codec(Schema schema, int id) {
    this.schema = schema;
    this.id = id;
    reader = new GenericDatumReader<>(schema);
    writer = new GenericDatumWriter<>(schema);
  }

  static Serde<GenericRecord> of(JsonNode work, String event) {
    int id = work.get("schemas").get(event).get("id").asInt();
    Codec codec = new Codec(Judge.schema(work, event), id);
    return Serdes.serdeFrom(
        (topic, record) -> codec.encode(record), (topic, bytes) -> codec.decode(bytes));
  }

  private byte[] encode(GenericRecord record) {
    try {
      out.reset();
      out.write(ByteBuffer.allocate(HEADER_BYTES).put((byte) 0).putInt(id).array());
      encoder = EncoderFactory.get().binaryEncoder(out, encoder);
      writer.write(record, encoder);
      encoder.flush();
      return out.toByteArray();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private GenericRecord decode(byte[] bytes) {
    ByteBuffer header = ByteBuffer.wrap(bytes);
    if (header.get() != 0 || header.getInt() != id) {
      throw new IllegalArgumentException("not a " + schema.getName());
    }
    try {
      int length = bytes.length - HEADER_BYTES;
      decoder = DecoderFactory.get().binaryDecoder(bytes, HEADER_BYTES, length, decoder);
      return reader.read(null, decoder);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
