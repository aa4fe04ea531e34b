# The service as an image: `docker build -t mitsumori .`. What it may do is fixed here as far as an image can: no
# root, nothing to write but /var/lib/mitsumori. Run it with a read-only root (compose.yaml, deploy/helm).

ARG PYTHON=3.11

FROM docker.io/library/python:${PYTHON}-slim-bookworm AS build
# The Makefile audits the same extras (SERVING).
ARG EXTRAS=serve,postgres,redact,registry
WORKDIR /source
RUN python3 -m venv /opt/mitsumori
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY mitsumori/ mitsumori/
COPY router/ router/
COPY training/ training/
COPY models/ models/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/mitsumori/bin/python -m pip --disable-pip-version-check install \
    --constraint constraints.txt ".[${EXTRAS}]"
# Training is part of the distribution and not of the image. The doctor unpacks the tokenizer's files, checks every
# hash and scores a prompt: an image that cannot serve is not built.
RUN rm -r /opt/mitsumori/lib/python3*/site-packages/training \
    && MITSUMORI_TOKENIZER_DIR=/opt/mitsumori/tokenizers /opt/mitsumori/bin/mitsumori doctor \
    && chmod -R a+rX /opt/mitsumori/tokenizers

FROM docker.io/library/python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="mitsumori" \
      org.opencontainers.image.description="Which model should answer, what will it cost, may it be spent?" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/mitsumori \
      --shell /usr/sbin/nologin mitsumori \
    && install -d -m 0700 -o mitsumori -g mitsumori /var/lib/mitsumori
COPY --from=build /opt/mitsumori /opt/mitsumori
# A container is reached from outside, so it listens on every interface of its own network; who may reach that is
# decided where it runs. The linter takes the tokenizer's folder for a secret.
# hadolint ignore=DL3064
ENV PATH=/opt/mitsumori/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MITSUMORI_HOST=0.0.0.0 \
    MITSUMORI_LEDGER=sqlite:/var/lib/mitsumori/ledger.sqlite \
    MITSUMORI_REGISTRY_CACHE=/var/lib/mitsumori/bundles \
    MITSUMORI_TOKENIZER_DIR=/opt/mitsumori/tokenizers
USER 10001:10001
VOLUME /var/lib/mitsumori
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["mitsumori", "health"]
ENTRYPOINT ["mitsumori"]
CMD ["serve"]
