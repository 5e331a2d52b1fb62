//! Where an origin is, in the words of the egress policy on text.

use atlas_domain::{Destination, DestinationClass};
use atlas_http::{AddressClass, Origin};

/// Hosts of the vendors whose terms an operator accepts by configuring them.
const VENDOR_SUFFIXES: [&str; 8] = [
    "openai.com",
    "openai.azure.com",
    "cognitiveservices.azure.com",
    "services.ai.azure.com",
    "anthropic.com",
    "amazonaws.com",
    "googleapis.com",
    "mistral.ai",
];

/// The destination behind an origin. A vendor's name at a private address is still the vendor.
pub fn destination(origin: &Origin) -> Destination {
    let host = origin.host();
    let class = match origin.class() {
        AddressClass::Loopback => DestinationClass::Loopback,
        AddressClass::Private | AddressClass::LinkLocal => DestinationClass::Private,
        // Forbidden addresses are refused by the connector; until then they count as anyone's.
        AddressClass::Public | AddressClass::Metadata | AddressClass::Unroutable => {
            let vendor = VENDOR_SUFFIXES.iter().any(|suffix| {
                host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            });
            if vendor { DestinationClass::VendorCloud } else { DestinationClass::Public }
        }
    };
    Destination::host(class, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_the_class_of_their_place() {
        for (url, class) in [
            ("https://api.openai.com/v1", DestinationClass::VendorCloud),
            ("https://eu.api.openai.com/v1", DestinationClass::VendorCloud),
            ("https://corp.openai.azure.com", DestinationClass::VendorCloud),
            ("https://api.anthropic.com", DestinationClass::VendorCloud),
            ("https://bedrock-runtime.us-east-1.amazonaws.com", DestinationClass::VendorCloud),
            ("https://notopenai.com", DestinationClass::Public),
            ("https://openai.com.example.com", DestinationClass::Public),
            ("http://127.0.0.1:8000", DestinationClass::Loopback),
            ("http://vllm.internal:8000", DestinationClass::Private),
            ("http://10.0.0.7", DestinationClass::Private),
        ] {
            let destination = destination(&url.parse().expect("an origin"));
            assert_eq!(destination.class(), class, "{url}");
        }
    }
}
