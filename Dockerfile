# The image of a node and of the agent: two binaries on a base without a shell, run by a user without a name.
#
#   buildah build -t rollcall --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
#
# Both bases may be your own: BUILD_IMAGE needs a Rust toolchain, a C compiler and make, BASE_IMAGE needs glibc no older than
# the one that BUILD_IMAGE links against, and libgcc.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# Function names stay for backtraces; line tables are most of the size.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package rollcall-node --package rollcall-agent \
    && mkdir -p /out/bin /out/data \
    && cp target/release/rollcall target/release/rollcall-agent /out/bin/ \
    && strip --strip-debug /out/bin/rollcall /out/bin/rollcall-agent

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Rollcall" \
      org.opencontainers.image.description="A gateway for calls to devices behind long connections" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/bin/ /usr/local/bin/
# The only folder that is written; the root may be read-only.
COPY --from=build --chown=10001:10001 /out/data/ /var/lib/rollcall/
USER 10001:10001
# Services, devices, the other nodes, health and metrics.
EXPOSE 7400 7401 7402 7403
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/rollcall"]
CMD ["serve"]
