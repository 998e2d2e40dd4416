# An exported model behind HTTP, without torch. From the repository's root:
#   docker build -f docker/serve.Dockerfile -t maskwright-serve .
#   docker run --rm --read-only -p 127.0.0.1:8000:8000 -e MASKWRIGHT_TOKEN=... \
#     -v "$PWD/model.onnx:/model.onnx:ro" maskwright-serve
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY src src
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir '.[onnx,review]'

FROM python:3.12-slim
COPY --from=build /venv /venv
RUN useradd --system --no-create-home serve
USER serve
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:8000/health', headers={'Authorization': 'Bearer ' + os.environ['MASKWRIGHT_TOKEN']}), timeout=4)"]
# Inside of a container the server listens on all of its addresses, so it wants a token: the variable MASKWRIGHT_TOKEN.
ENTRYPOINT ["maskwright", "serve", "/model.onnx", "--host", "0.0.0.0", "--port", "8000"]
