//! `GET /v1/models`: the names that `model` may have.

use std::sync::Arc;

use atlas_inference::Inference;
use atlas_retrieval::{EmbeddingState, Retrieval};
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::refusal::no_such_model;
use crate::extract::Json;
use crate::problem::Problem;

/// All of them: for chat, then for embeddings.
pub(crate) async fn list(
    State(inference): State<Arc<Inference>>,
    State(retrieval): State<Arc<Retrieval>>,
) -> Json<Value> {
    let all = all(&inference, &retrieval);
    Json(json!({"object": "list", "data": all.iter().map(Model::shown).collect::<Vec<_>>()}))
}

/// One of them. Names may hold slashes.
pub(crate) async fn read(
    State(inference): State<Arc<Inference>>,
    State(retrieval): State<Arc<Retrieval>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let all = all(&inference, &retrieval);
    match all.iter().find(|model| model.id == id) {
        Some(model) => Ok(Json(model.shown())),
        None => {
            let names: Vec<String> = all.into_iter().map(|model| model.id).collect();
            Err(no_such_model(&id, &names))
        }
    }
}

struct Model {
    id: String,
    owner: String,
}

impl Model {
    fn shown(&self) -> Value {
        // When a vendor made it is not known here, and clients want a number.
        json!({"id": self.id, "object": "model", "created": 0, "owned_by": self.owner})
    }
}

fn all(inference: &Inference, retrieval: &Retrieval) -> Vec<Model> {
    let owner = inference.status().served_by.map_or_else(|| "byoc".to_owned(), |by| by.provider);
    let chat = inference.models().into_iter().map(|id| Model { id, owner: owner.clone() });
    let embedding = match retrieval.embedding() {
        EmbeddingState::Ready { space } | EmbeddingState::Failing { space, .. } => {
            Some(Model { id: space.model, owner: space.engine })
        }
        EmbeddingState::KeywordsOnly => None,
    };
    chat.chain(embedding).collect()
}
