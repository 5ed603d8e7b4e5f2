# docker build -t isnet .
# docker run --rm --network none -v "$PWD:/data" isnet masks /data/xrays -o /data/runs/masks
# torch is the CPU build (1.5 GB less); with CUDA: --build-arg PIP_EXTRA_INDEX_URL=

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY isnet_cli ./isnet_cli
COPY models ./models
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL="https://download.pytorch.org/whl/cpu"
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt /wheels/*.whl && rm -rf /wheels
RUN useradd --create-home --uid 10001 isnet \
    && mkdir /data \
    && chown isnet:isnet /data
ENV HF_HUB_OFFLINE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
ENTRYPOINT ["isnet"]
CMD ["--help"]
