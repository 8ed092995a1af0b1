"""What every client of Kafka here is told alike."""

# Between two tries to reach a broker. librdkafka's own 10 s would be added to every outage, and is as long as
# a sink waits for a delivery.
RECONNECT_MS_MAX = 500
