# syntax=docker/dockerfile:1
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock ./
RUN uv venv /opt/llm-sidecar && uv pip sync --python /opt/llm-sidecar/bin/python --require-hashes --compile-bytecode requirements.lock
COPY pyproject.toml README.md CHANGELOG.md ./
COPY app app
COPY config config
RUN uv pip install --python /opt/llm-sidecar/bin/python --no-deps --compile-bytecode .

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home sidecar && install -d -o sidecar -g sidecar -m 0700 /data
COPY --from=build /opt/llm-sidecar /opt/llm-sidecar
USER sidecar
# Inside a container loopback is the container itself: the port is published by whoever runs it, on 127.0.0.1 (README).
ENV PATH=/opt/llm-sidecar/bin:$PATH SIDECAR_HOST=0.0.0.0 SIDECAR_PORT=8765 SIDECAR_DATA_DIR=/data
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/health', timeout=2)"
CMD ["llm-sidecar", "serve"]
