//! The few fields of a certificate that a person wants to see: who issued it, and until when.
//!
//! The TLS library verifies certificates but shows none of their fields. This reader serves texts
//! and the dates of pinned certificates; it decides nothing about trust chains. It walks
//! RFC 5280's `TBSCertificate` in order and gives up silently on anything unexpected.

use std::time::Duration;

use rustls::pki_types::UnixTime;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];

/// What is read of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    /// The common name of the issuer, or its organisation.
    pub(crate) issuer: String,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Fields {
    /// Reads a DER certificate.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
        let mut fields = Reader(certificate.expect(SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        fields.next()?; // serial number
        fields.next()?; // signature algorithm
        let issuer = name(fields.expect(SEQUENCE)?)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let not_before = time(validity.next()?)?;
        Some(Self { issuer, not_before, not_after: time(validity.next()?)? })
    }

    /// Whole days until the end; negative once it has passed.
    pub(crate) fn days_left(&self, now: UnixTime) -> i64 {
        (self.not_after.as_secs() as i64 - now.as_secs() as i64).div_euclid(86_400)
    }
}

/// Reads one DER element after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match *length {
            short @ ..0x80 => (usize::from(short), rest),
            // Longer certificates than four bytes can say are no certificates.
            long => {
                let n_bytes = usize::from(long & 0x7f);
                let (bytes, rest) = rest.split_at_checked(n_bytes).filter(|_| (1..=4).contains(&n_bytes))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

fn name(der: &[u8]) -> Option<String> {
    let (mut common_name, mut organisation) = (None, None);
    let mut sets = Reader(der);
    while let Some((SET, set)) = sets.next() {
        let mut attribute = Reader(Reader(set).expect(SEQUENCE)?);
        let kind = attribute.expect(OBJECT_IDENTIFIER)?;
        let (_, value) = attribute.next()?;
        match kind {
            COMMON_NAME => common_name = Some(value),
            ORGANISATION => organisation = Some(value),
            _ => {}
        }
    }
    let value = common_name.or(organisation).unwrap_or_default();
    // Foreign text on its way to a page: one short line.
    let shown = String::from_utf8_lossy(value);
    let shown: String = shown.chars().filter(|c| !c.is_control()).take(64).collect();
    Some(if shown.is_empty() { "an unnamed issuer".to_owned() } else { shown })
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms that RFC 5280 allows.
fn time((tag, text): (u8, &[u8])) -> Option<UnixTime> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let seconds = days_from_civil(year, part(0), part(2)) * 86_400 + part(4) * 3600 + part(6) * 60 + part(8);
    u64::try_from(seconds).ok().map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day
/// is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(tag: u8, text: &str, seconds: Option<u64>) {
        let read = time((tag, text.as_bytes())).map(|time| time.as_secs());
        assert_eq!(read, seconds, "{text}");
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20000229120000Z", Some(951_825_600));
        check(GENERALIZED_TIME, "20000301000000Z", Some(951_868_800));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "500101000000Z", None);
        check(UTC_TIME, "20000229120000Z", None);
        check(GENERALIZED_TIME, "2000022912000Z", None);
        check(GENERALIZED_TIME, "20000229120000+", None);
    }

    #[test]
    fn a_certificate_tells_its_issuer_and_its_dates() {
        let mut authority = rcgen::CertificateParams::default();
        authority.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Example Root\n1");
        authority.not_before = rcgen::date_time_ymd(2001, 2, 3);
        authority.not_after = rcgen::date_time_ymd(2055, 6, 7);
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = authority.self_signed(&key).expect("a certificate");
        let fields = Fields::of(der.der()).expect("a certificate");
        assert_eq!(fields.issuer, "Example Root1");
        assert_eq!((fields.not_before.as_secs(), fields.not_after.as_secs()), (981_158_400, 2_695_939_200));
        let now = UnixTime::since_unix_epoch(Duration::from_secs(2_695_939_200 - 86_400 - 1));
        assert_eq!(fields.days_left(now), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Fields::of(&bytes);
            let _ = name(&bytes);
        }
    }
}
