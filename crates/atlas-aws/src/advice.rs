//! What Bedrock's refusals mean for the one who chose the model.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};

/// Says what to do, where the model's name is the matter.
pub fn advise(error: ProviderError, model: &str, region: &str, replacement: Option<&str>) -> ProviderError {
    let hint = match error.kind() {
        Kind::BadRequest if needs_profile(error.detail()) => {
            let geographies = geographies(region);
            let ids: Vec<_> = geographies.iter().map(|geography| format!("{geography}.{model}")).collect();
            format!("Set the model to an inference profile, such as {}; its geography is where the data goes", ids.join(" or "))
        }
        Kind::NotFound => match replacement {
            Some(replacement) => format!("The model may be retired here; a successor is {replacement}"),
            None => "Check the model id and that it is offered in this region".to_owned(),
        },
        Kind::Forbidden => {
            "The role needs bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream on the model and on its inference profile, and the account access to the model".to_owned()
        }
        _ => return error,
    };
    let detail = format!("{} [{hint}]", error.detail());
    let hinted = ProviderError::new(error.kind(), detail).with_retry(error.retry());
    let hinted = hinted.with_request_id(error.request_id().map(str::to_owned));
    match error.status() {
        Some(status) => hinted.with_status(status),
        None => hinted,
    }
}

fn needs_profile(detail: &str) -> bool {
    // Up to the apostrophe, which is a typographic one.
    detail.contains("on-demand throughput")
}

/// The geographies of inference profiles that a region may call.
fn geographies(region: &str) -> &'static [&'static str] {
    match region {
        _ if region.starts_with("us-gov-") => &["us-gov"],
        _ if region.starts_with("us-") || region.starts_with("ca-") => &["us", "global"],
        _ if region.starts_with("eu-") => &["eu", "global"],
        "ap-northeast-1" | "ap-northeast-3" => &["jp", "apac"],
        "ap-southeast-2" | "ap-southeast-4" => &["au", "apac"],
        "ap-south-1" | "ap-south-2" => &["in", "apac"],
        _ if region.starts_with("ap-") => &["apac", "global"],
        _ => &["global"],
    }
}
