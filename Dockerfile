# docker build -t llm-sidecar .                      (docs/guide/docker.md says how it is run)
# podman build --format docker -t llm-sidecar .      (without it podman leaves the health check out)
#
# Any image with a Python 3.11 to 3.13 and its pip will do as BASE.
ARG BASE=python:3.12-slim

# -- the packages: nothing of ours is in here, so it is built again only when the lock file changes -----------------
FROM ${BASE} AS packages
ARG UV_VERSION=0.13.9
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore --quiet \
    --target /opt/uv uv==${UV_VERSION}
# Bytecode that is never compared with the source's time: the same from one build to the next, and valid in any layer.
ENV PATH=/opt/uv/bin:$PATH UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    PYTHONHASHSEED=0 PYC_INVALIDATION_MODE=UNCHECKED_HASH
WORKDIR /src
COPY requirements.lock ./
RUN uv venv --quiet --python python3 /opt/llm-sidecar \
    && uv pip sync --quiet --python /opt/llm-sidecar/bin/python --require-hashes --only-binary :all: \
        --compile-bytecode requirements.lock
COPY freeze/unused.py freeze/
RUN /opt/llm-sidecar/bin/python freeze/unused.py && rm -rf /opt/llm-sidecar/etc /opt/llm-sidecar/share

# -- the embedding model's three files (90 MB), by SHA-256 ----------------------------------------------------------
FROM packages AS model
COPY app/__init__.py app/errors.py app/
COPY app/memory/__init__.py app/memory/model_files.py app/memory/
# Times of whole seconds, so that the marker of what was verified still fits once they are in a layer.
RUN /opt/llm-sidecar/bin/python -m app.memory.model_files --strict --folder /model \
    && rm /model/verified.json && touch --date @0 /model/* \
    && /opt/llm-sidecar/bin/python -m app.memory.model_files --strict --folder /model

# -- the program itself: 6 MB -----------------------------------------------------------------------------------------
FROM packages AS program
COPY pyproject.toml README.md CHANGELOG.md ./
COPY app app
COPY config config
RUN uv pip install --quiet --python /opt/llm-sidecar/bin/python --no-deps --compile-bytecode --target /program .

FROM ${BASE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title=llm-sidecar \
    org.opencontainers.image.description="A local HTTP sidecar that gives a desktop app one door to every language model." \
    org.opencontainers.image.licenses=MIT \
    org.opencontainers.image.version=${VERSION} \
    org.opencontainers.image.revision=${REVISION}
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin sidecar \
    && install --directory --owner sidecar --group sidecar --mode 0700 /data
COPY --from=packages /opt/llm-sidecar /opt/llm-sidecar
COPY --from=model /model /opt/llm-sidecar/cache/llm-sidecar/models/all-MiniLM-L6-v2
COPY --from=program /program /opt/llm-sidecar/program
# A number, so that what runs it can see that it is not root.
USER 10001:10001
# Inside a container loopback is the container itself: the port is published by whoever runs it, on 127.0.0.1.
# Everything that is written is in the volume; the rest may be read-only.
ENV PATH=/opt/llm-sidecar/program/bin:/opt/llm-sidecar/bin:$PATH PYTHONPATH=/opt/llm-sidecar/program \
    XDG_CACHE_HOME=/opt/llm-sidecar/cache XDG_CONFIG_HOME=/data/config \
    SIDECAR_HOST=0.0.0.0 SIDECAR_PORT=8765 SIDECAR_DATA_DIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 8765
# 30 ms of Python each time, past every proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["/opt/llm-sidecar/bin/python", "-ISc", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SIDECAR_PORT']), timeout=2); c.request('GET', '/health'); raise SystemExit(b'\"ok\"' not in c.getresponse().read())"]
CMD ["llm-sidecar", "serve"]
