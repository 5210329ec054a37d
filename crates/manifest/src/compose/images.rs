//! What images that everybody uses are.

use lockstep_domain::resource::ResourceKind;

use super::file::Service;
use super::places::Known;

/// Databases and the like, with the port that each listens on.
const RESOURCES: [(&str, ResourceKind, u16); 36] = [
    ("postgres", ResourceKind::Postgresql, 5432),
    ("postgresql", ResourceKind::Postgresql, 5432),
    ("postgis", ResourceKind::Postgresql, 5432),
    ("timescaledb", ResourceKind::Postgresql, 5432),
    ("pgvector", ResourceKind::Postgresql, 5432),
    ("mysql", ResourceKind::Mysql, 3306),
    ("mysql-server", ResourceKind::Mysql, 3306),
    ("mariadb", ResourceKind::Mysql, 3306),
    ("percona", ResourceKind::Mysql, 3306),
    ("redis", ResourceKind::Redis, 6379),
    ("redis-stack", ResourceKind::Redis, 6379),
    ("redis-stack-server", ResourceKind::Redis, 6379),
    ("valkey", ResourceKind::Redis, 6379),
    ("keydb", ResourceKind::Redis, 6379),
    ("rabbitmq", ResourceKind::Other, 5672),
    ("mongo", ResourceKind::Other, 27017),
    ("mongodb", ResourceKind::Other, 27017),
    ("memcached", ResourceKind::Other, 11211),
    ("nats", ResourceKind::Other, 4222),
    ("elasticsearch", ResourceKind::Other, 9200),
    ("opensearch", ResourceKind::Other, 9200),
    ("kafka", ResourceKind::Other, 9092),
    ("cp-kafka", ResourceKind::Other, 9092),
    ("redpanda", ResourceKind::Other, 9092),
    ("zookeeper", ResourceKind::Other, 2181),
    ("cp-zookeeper", ResourceKind::Other, 2181),
    ("minio", ResourceKind::Other, 9000),
    ("cassandra", ResourceKind::Other, 9042),
    ("clickhouse-server", ResourceKind::Other, 8123),
    ("influxdb", ResourceKind::Other, 8086),
    ("neo4j", ResourceKind::Other, 7687),
    ("couchdb", ResourceKind::Other, 5984),
    ("etcd", ResourceKind::Other, 2379),
    ("eclipse-mosquitto", ResourceKind::Other, 1883),
    ("mailhog", ResourceKind::Other, 1025),
    ("mailpit", ResourceKind::Other, 1025),
];
/// Ports at which something else than HTTP/1.1 is spoken, with what.
const OTHERWISE: [(u16, &str); 13] = [
    (25, "SMTP"),
    (1025, "SMTP"),
    (1883, "MQTT"),
    (3306, "MySQL"),
    (4222, "NATS"),
    (4317, "gRPC"),
    (5432, "PostgreSQL"),
    (5672, "AMQP"),
    (6379, "Redis"),
    (9092, "Kafka"),
    (11211, "memcached"),
    (27017, "MongoDB"),
    (50051, "gRPC"),
];
/// Images of languages, which run what is mounted into them.
const LANGUAGES: [&str; 13] = [
    "python",
    "node",
    "golang",
    "ruby",
    "php",
    "openjdk",
    "eclipse-temurin",
    "amazoncorretto",
    "rust",
    "sdk",
    "aspnet",
    "bun",
    "deno",
];

/// Takes registry, path and tag away from the name of an image.
pub(super) fn base(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// Tells which database an image is.
pub(super) fn resource(image: &str) -> Option<(ResourceKind, u16)> {
    let base = base(image);
    RESOURCES.iter().find(|(name, ..)| *name == base).map(|(_, kind, port)| (*kind, *port))
}

/// Tells what is spoken at a port that everybody uses for something else than HTTP/1.1.
pub(super) fn spoken_at(port: u16) -> Option<&'static str> {
    OTHERWISE.iter().find(|(known, _)| *known == port).map(|(_, what)| *what)
}

/// Tells whether an image runs what is mounted into it.
pub(super) fn is_language(image: &str) -> bool {
    LANGUAGES.contains(&base(image))
}

/// Tells whether an image is nginx.
pub(super) fn is_nginx(image: &str) -> bool {
    matches!(base(image), "nginx" | "nginx-unprivileged" | "openresty")
}

/// What a database is told of itself by its variables, and by its arguments.
pub(super) fn known(service: &Service, port: u16) -> Known {
    let value = |names: &[&str]| {
        let found =
            names.iter().find_map(|name| service.environment.iter().find(|setting| setting.name == *name));
        found.map(|setting| setting.value.clone()).filter(|value| !value.is_empty())
    };
    let user = value(&[
        "POSTGRES_USER",
        "MYSQL_USER",
        "MARIADB_USER",
        "RABBITMQ_DEFAULT_USER",
        "MONGO_INITDB_ROOT_USERNAME",
        "MINIO_ROOT_USER",
    ]);
    let password = value(&[
        "POSTGRES_PASSWORD",
        "MYSQL_PASSWORD",
        "MARIADB_PASSWORD",
        "MYSQL_ROOT_PASSWORD",
        "MARIADB_ROOT_PASSWORD",
        "RABBITMQ_DEFAULT_PASS",
        "MONGO_INITDB_ROOT_PASSWORD",
        "REDIS_PASSWORD",
        "MINIO_ROOT_PASSWORD",
    ]);
    let name = value(&["POSTGRES_DB", "MYSQL_DATABASE", "MARIADB_DATABASE", "MONGO_INITDB_DATABASE"]);
    let is_postgres =
        service.image.as_deref().and_then(resource).is_some_and(|(kind, _)| kind == ResourceKind::Postgresql);
    let usual = is_postgres.then(|| "postgres".to_owned());
    let user = user.or(usual);
    Known { port, name: name.or(user.clone().filter(|_| is_postgres)), user, password }
}
