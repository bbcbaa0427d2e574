//! Logs as JSON lines, and traces when an OTLP endpoint is set.
//!
//! Guarantees: the log level can be changed while the process runs; traces are off unless `OTEL_EXPORTER_OTLP_ENDPOINT`
//! is set; what the Kubernetes client would log of an unreadable answer (which may be a Secret) is never written.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    Resource, runtime,
    trace::{SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

/// Why telemetry could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a filter.
    #[error("log level {given:?} is not valid: {reason}; use for example info or his_operator=debug,info")]
    ParseLevel {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has a subscriber already.
    #[error("logging is already set up in this process")]
    Install(#[from] TryInitError),
    /// The endpoint is not usable.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT is not usable: {0}; set a plain http:// URL of a collector, or unset it")]
    Export(String),
}

/// The running telemetry: changes the level and flushes at the end.
#[derive(Clone, Debug)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs logging to standard output, and traces if an endpoint is set. Must be called inside the async runtime.
    pub fn install(level: &str) -> Result<Self, Error> {
        let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        let traces = endpoint.map(|_| exporter()).transpose()?;
        let (filter, handle) = reload::Layer::new(parse(level)?);
        let spans = traces.as_ref().map(|traces| {
            tracing_opentelemetry::layer()
                .with_tracer(traces.tracer("his-operator"))
                .with_filter(filter_fn(is_harmless))
        });
        tracing_subscriber::registry().with(filter).with(json(std::io::stdout)).with(spans).try_init()?;
        Ok(Self { filter: handle, traces })
    }

    /// The filter in force.
    pub fn level(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Replaces the filter, for example by `debug` or `his_operator=trace,info`.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        let filter = parse(level)?;
        self.filter
            .reload(filter)
            .map_err(|error| Error::ParseLevel { given: level.to_owned(), reason: error.to_string() })
    }

    /// Sends what is still buffered.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

fn parse(level: &str) -> Result<EnvFilter, Error> {
    let refused = |reason: String| Error::ParseLevel { given: level.to_owned(), reason };
    if level.trim().is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    EnvFilter::try_new(level).map_err(|error| refused(error.to_string()))
}

/// The Kubernetes client logs the body of an answer that it cannot parse. That body may be a Secret.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() || metadata.target() != "kube_client::client" || *metadata.level() == Level::ERROR
}

fn json<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer)
        .with_filter(filter_fn(is_harmless))
}

/// Reads endpoint, headers and timeout from the standard `OTEL_*` variables.
fn exporter() -> Result<SdkTracerProvider, Error> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .map_err(|error| Error::Export(error.to_string()))?;
    let resource = Resource::builder().with_service_name("his-operator").build();
    // The exporter speaks through the async runtime, so its batches must be driven by it too.
    let processor = BatchSpanProcessor::builder(exporter, runtime::Tokio).build();
    Ok(SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_json_with_tenant_and_reconcile_id() {
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber = tracing_subscriber::registry().with(parse("info").unwrap()).with(json(move || sink.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("reconcile", tenant = "st-elsewhere", reconcile = "7")
                .in_scope(|| tracing::info!("applied"));
            tracing::warn!(target: "kube_client::client", "body: hunter2");
            tracing::debug!("too fine");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["message"].as_str(), line["level"].as_str()), (Some("applied"), Some("INFO")));
        assert_eq!(
            (line["span"]["tenant"].as_str(), line["span"]["reconcile"].as_str()),
            (Some("st-elsewhere"), Some("7"))
        );
    }

    #[test]
    fn a_level_that_does_not_parse_names_what_was_given() {
        for level in ["", "his_operator=loud"] {
            assert!(parse(level).unwrap_err().to_string().contains(&format!("{level:?}")));
        }
    }
}
