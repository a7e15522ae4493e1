//! The native engine as a maker of boxes that live longer than one check: refused until it can be held.

use super::NativeEngine;
use crate::engine::{
    CheckEngine, EngineUnavailable, OpenError, ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxSpec,
};

impl SandboxEngine for NativeEngine {
    fn name(&self) -> &'static str {
        CheckEngine::name(self)
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        CheckEngine::probe(self).map(|()| Vec::new())
    }

    fn open(&self, _: &SandboxSpec, _: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        Err(OpenError::Unsupported(
            "the native engine runs checks only".to_owned(),
        ))
    }

    fn reap(&self) -> Result<usize, ReapError> {
        CheckEngine::reap(self)
    }
}
