# The program `oss-emulator`, statically linked, in an image without anything else.
#
#   docker build -t oss-emulator .
#   docker run --rm -p 127.0.0.1:9000:9000 oss-emulator
#
# Options are variables: `-e OSS_EMULATOR_BUCKET=photos`. Objects are in memory; for a folder, add
# `-e OSS_EMULATOR_DATA=/data -v oss:/data`.

# Alpine's target is musl, so binaries are static.
FROM rust:1-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /source
COPY . .
RUN cargo build --locked --release -p aliyun-oss-emulator --bin oss-emulator \
    && mkdir /data

FROM scratch
COPY --from=build /source/target/release/oss-emulator /oss-emulator
# The roots for callbacks to https URLs.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# A volume gets the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
ENV OSS_EMULATOR_LISTEN=0.0.0.0:9000
EXPOSE 9000
# Not with `--start-interval`, which Docker before 25 and Buildah 1.28 refuse.
HEALTHCHECK --interval=2s --timeout=6s --start-period=30s \
    CMD ["/oss-emulator", "health"]
ENTRYPOINT ["/oss-emulator"]
