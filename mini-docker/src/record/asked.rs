//! Flags whose words are lost in the spec: it says what they came to.

use serde::{Deserialize, Serialize};

/// What the user asked for, in the flags' own words; `inspect` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `run -d`.
    #[serde(skip_serializing_if = "is_default")]
    pub background: bool,
    /// `-v` with a source: `data:/data:ro`.
    #[serde(skip_serializing_if = "is_default")]
    pub binds: Vec<String>,
    /// `--volumes-from`.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// `--tmpfs`: `/run:size=64m`.
    #[serde(skip_serializing_if = "is_default")]
    pub tmpfs: Vec<String>,
    /// `--cap-add`, as Docker writes them: `CAP_NET_ADMIN`, `ALL`.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    /// `--cap-drop`, likewise.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    /// `--privileged`.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// `--device`.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<String>,
    /// `--security-opt`.
    #[serde(skip_serializing_if = "is_default")]
    pub security_opt: Vec<String>,
    /// `--sysctl`: `NAME=VALUE`.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: Vec<String>,
    /// `--ipc`; empty if not given.
    #[serde(skip_serializing_if = "is_default")]
    pub ipc: String,
    /// `--cpus`, in billionths of a CPU.
    #[serde(skip_serializing_if = "is_default")]
    pub nano_cpus: i64,
    /// `-P`.
    #[serde(skip_serializing_if = "is_default")]
    pub publish_all: bool,
    /// `--cidfile`.
    #[serde(skip_serializing_if = "is_default")]
    pub cidfile: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
