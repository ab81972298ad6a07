# One image for all of Emberlog: its four programs and the listener's jar. BuildKit is needed (Docker 23 or later has it).
#
#   docker build -t emberlog:0.1.0 .
#
# The first build compiles RocksDB, some 35 minutes of processor time. Later ones take it from the cache mounts.

# Packages have no versions here: Debian's mirrors keep the newest only.

FROM rust:1-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libclang-dev libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY crates crates
COPY api api
COPY collector collector
COPY materializer materializer
COPY standalone standalone
# Only because the workspace names them.
COPY bench bench
COPY e2e e2e
# `locked`: two builds at once would write into the same target folder.
RUN --mount=type=cache,id=emberlog-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=emberlog-target,target=/target,sharing=locked \
    CARGO_TARGET_DIR=/target cargo build --release --locked --bins -p standalone -p collector -p materializer -p api \
    && install -D -s -t /out /target/release/emberlog /target/release/emberlog-collector \
        /target/release/emberlog-materializer /target/release/emberlog-api

FROM maven:3-eclipse-temurin-17 AS listener
WORKDIR /src
COPY listener listener
RUN --mount=type=cache,id=emberlog-maven,target=/root/.m2/repository,sharing=locked \
    mvn -q -B -f listener/pom.xml -Dmaven.test.skip=true package

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 openssl zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
    && useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin emberlog \
    && install -d -o 10001 -g 10001 -m 750 /data
COPY --from=build /out/ /usr/local/bin/
COPY --from=listener /src/listener/target/emberlog-listener.jar /usr/local/share/emberlog/
COPY scripts/healthy /usr/local/bin/
# A library that is missing shows here, and not at the first start.
RUN for program in emberlog emberlog-collector emberlog-materializer emberlog-api; do "$program" --version || exit 1; done

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Emberlog" \
    org.opencontainers.image.description="A self-hosted, real-time backend for the events that Apache Spark applications emit" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

# The programs' default --data-dir, ./data, is /data here.
WORKDIR /
USER 10001:10001
EXPOSE 5000 5001 5002
# All in one process, for a try; docker-compose.yml and the Helm chart name a program each.
CMD ["emberlog", "serve", "--listen", "0.0.0.0:5000"]
