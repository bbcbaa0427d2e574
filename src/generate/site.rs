//! What differs between the plain bundle and the chart: names as text here, expressions there.

use serde_json::Value;

use super::{Error, values::Values, yaml};
use crate::{names, settings::Settings};

/// Version of the product, of its charts and of its default image tag.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where an installation goes.
#[derive(Clone, Debug)]
pub struct Site {
    /// Namespace of the operator.
    pub namespace: String,
    /// Image of the operator.
    pub image: String,
    /// Image for hospitals' pods.
    pub agent_image: String,
    /// Log filter.
    pub log_level: String,
    /// Collector.
    pub tracing_endpoint: String,
    /// When the node asks the registry.
    pub pull_policy: String,
    chart: bool,
}

impl Site {
    /// The plain bundle: default values.
    pub fn plain() -> Self {
        let values = Values::default();
        let image = values.image(VERSION);
        Self {
            namespace: Settings::default().namespace,
            agent_image: image.clone(),
            image,
            log_level: values.log_level,
            tracing_endpoint: values.tracing_endpoint,
            pull_policy: values.image.pull_policy,
            chart: false,
        }
    }

    /// The chart: expressions over its values.
    pub fn chart() -> Self {
        let slot = yaml::text_slot;
        Self {
            namespace: slot(".Release.Namespace"),
            image: slot("include \"his-operator.image\" ."),
            agent_image: slot("include \"his-operator.agentImage\" ."),
            log_level: slot(".Values.logLevel"),
            tracing_endpoint: slot(".Values.tracingEndpoint"),
            pull_policy: slot(".Values.image.pullPolicy"),
            chart: true,
        }
    }

    /// User name of the operator.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, names::PRODUCT)
    }

    /// Replaces a field by an expression, in the chart only; the field must be there with the value's default.
    pub fn place(&self, object: &mut Value, pointer: &str, expression: &str) -> Result<(), Error> {
        let name = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let field = object.pointer_mut(pointer);
        let field = field.ok_or_else(|| Error::PlaceValue { object: name, pointer: pointer.to_owned() })?;
        if self.chart {
            *field = Value::String(yaml::raw_slot(expression));
        }
        Ok(())
    }
}
