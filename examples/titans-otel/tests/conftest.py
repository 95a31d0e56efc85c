"""The SDK of OpenTelemetry, as an application sets it up."""

import pytest
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from titans import plugins


@pytest.fixture(scope="session")
def installed_reader():
    """Of the SDK that the application sets up, as late as it likes. It exports to Prometheus too,
    into the registry of `prometheus_client`."""
    reader = InMemoryMetricReader()
    plugins.clear()
    provider = MeterProvider(
        metric_readers=[reader, PrometheusMetricReader()], shutdown_on_exit=False
    )
    metrics.set_meter_provider(provider)
    yield reader
    provider.shutdown()
