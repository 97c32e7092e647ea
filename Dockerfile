# One image for every process: `batuta start NAME` runs one line of the Procfile, `batuta up` all of them.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# LightGBM's wheel takes its threads from the system.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

COPY requirements/run.lock requirements/
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements/run.lock

COPY . .
RUN printf '#!/bin/sh\nexec python -m app.cli "$@"\n' > /usr/local/bin/batuta && chmod +x /usr/local/bin/batuta \
    && useradd --create-home batuta && install -d -o batuta /data

USER batuta
ENV PYTHONPATH=/app DATA_DIR=/data
EXPOSE 8001
CMD ["batuta", "up"]
