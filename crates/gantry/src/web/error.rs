//! HTTP statuses, once: what went wrong, as a status and a JSON body.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_engine::factory::AskError;
use gantry_engine::line::{LineError, chain};
use gantry_store::StoreError;
use serde_json::json;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    /// The request itself is wrong.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            text: text.into(),
        }
    }

    /// What was named does not exist.
    pub fn missing(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            text: text.into(),
        }
    }

    /// Something is in the way.
    pub fn trouble(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: text.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.text}))).into_response()
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        let status = match &error {
            AskError::NoRepository { .. } | AskError::NoChange(_) | AskError::NoBranch { .. } => {
                StatusCode::NOT_FOUND
            }
            AskError::HeadMoved { .. }
            | AskError::AfterEnded(_)
            | AskError::AfterElsewhere(_)
            | AskError::Cycle(_)
            | AskError::NotNow { .. }
            | AskError::NotFrozen(_)
            | AskError::Raced => StatusCode::CONFLICT,
            AskError::WhichRepository { .. } | AskError::IsTarget(_) => StatusCode::UNPROCESSABLE_ENTITY,
            AskError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            AskError::Store(_) | AskError::Git(_) | AskError::Line(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            text: chain(&error),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::trouble(chain(&error))
    }
}

impl From<LineError> for Refusal {
    fn from(error: LineError) -> Self {
        Self::trouble(chain(&error))
    }
}
