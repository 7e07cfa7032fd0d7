# One image for each service, from one build. Needs BuildKit (the default; before Docker 23: DOCKER_BUILDKIT=1).
#
#   docker build --target sse-svc -t sse-svc .      (comet-svc, chat-svc, streams-svc, standalone)
#
# The images hold the binary, and nothing that runs as root: a read-only file system will do.

# All binaries. What cargo fetches and builds is kept between builds, so that a change costs only what it touches.
FROM rust:1.95-slim-bookworm AS build
# For the allocator, jemalloc.
RUN command -v make >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends make; }
WORKDIR /src
# `trial` builds in a fraction of the time, for trying things out.
ARG CARGO_PROFILE=release
# How much the build gives way to what else the machine does (nice).
ARG NICE=0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    nice -n "$NICE" cargo build --locked --profile "$CARGO_PROFILE" -p comet-svc -p chat-svc -p sse-svc -p streams-svc -p standalone --features jemalloc \
 && mkdir -p /binaries /var/lib/trident \
 && for name in comet-svc chat-svc sse-svc streams-svc standalone; do \
      cp "target/$([ "$CARGO_PROFILE" = dev ] && echo debug || echo "$CARGO_PROFILE")/$name" /binaries/; \
    done

FROM debian:bookworm-slim AS service
# For Redis over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY NOTICE LICENSE-APACHE LICENSE-MIT web/vendor/dist/LICENSE /usr/share/doc/trident/
USER 10001:10001
WORKDIR /srv
# That the process lives. Whether it can serve is at /readyz: restarting it would not bring Redis back.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["bash", "-c", \
  "exec 3<>\"/dev/tcp/127.0.0.1/$PORT\" && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q ' 200 '"]
STOPSIGNAL SIGTERM

FROM service AS comet-svc
ENV PORT=8081
EXPOSE 8081
COPY --from=build /binaries/comet-svc /usr/local/bin/
ENTRYPOINT ["comet-svc"]

FROM service AS sse-svc
ENV PORT=8083
EXPOSE 8083
COPY --from=build /binaries/sse-svc /usr/local/bin/
ENTRYPOINT ["sse-svc"]

FROM service AS chat-svc
ENV PORT=8082
EXPOSE 8082
COPY --from=build /binaries/chat-svc /usr/local/bin/
ENTRYPOINT ["chat-svc"]

FROM service AS streams-svc
ENV PORT=8084
EXPOSE 8084
COPY --from=build /binaries/streams-svc /usr/local/bin/
ENTRYPOINT ["streams-svc"]

FROM service AS standalone
ENV PORT=8080
EXPOSE 8080
COPY --from=build /binaries/standalone /usr/local/bin/
# The log is on disk, so that a restart loses nothing. With a name, the volume outlives the container: `-v trident:/var/lib/trident`.
ENV TRIDENT_BUS=file:/var/lib/trident
COPY --from=build --chown=10001:10001 /var/lib/trident /var/lib/trident
VOLUME /var/lib/trident
ENTRYPOINT ["standalone"]
