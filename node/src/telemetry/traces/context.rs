//! The trace that a call belongs to, as callers and devices say it: W3C Trace Context's `traceparent`.
//!
//! See <https://www.w3.org/TR/trace-context-1/#traceparent-header>.

use std::fmt;

use opentelemetry::{SpanId, TraceFlags, TraceId};

/// The key of metadata and of gRPC headers.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors say beside it; passed on as it is.
pub const TRACESTATE: &str = "tracestate";

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that what follows is a part of.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. `None`: it is none, and then it is as if it were absent.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = hex(text, 2)?;
        let (trace, rest) = hex(rest.strip_prefix('-')?, 32)?;
        let (span, rest) = hex(rest.strip_prefix('-')?, 16)?;
        let (flags, rest) = hex(rest.strip_prefix('-')?, 2)?;
        // A later version may say more behind a dash; the first one may not, and there is none of 255.
        let ends_well = rest.is_empty() || (version != 0 && rest.starts_with('-'));
        let is_one = version != 0xff && trace != 0 && span != 0 && ends_well;
        is_one.then(|| Self {
            trace: trace.into(),
            span: u64::try_from(span).unwrap_or_default().into(),
            is_sampled: flags & 1 == 1,
        })
    }

    /// The flags, as OpenTelemetry has them.
    pub fn flags(&self) -> TraceFlags {
        TraceFlags::default().with_sampled(self.is_sampled)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags())
    }
}

/// So many small hexadecimal digits, and what follows them.
fn hex(text: &str, digits: usize) -> Option<(u128, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let small = number.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    Some((small.then(|| u128::from_str_radix(number, 16).ok())??, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context = TraceContext::parse(GOOD).expect("it is one");
        assert!(context.is_sampled);
        assert_eq!(context.to_string(), GOOD);
        let other = GOOD.replace("-01", "-00");
        assert!(!TraceContext::parse(&other).expect("it is one").is_sampled);
        let later = format!("{}-more", GOOD.replacen("00", "cc", 1));
        assert_eq!(TraceContext::parse(&later), Some(context), "a later version says more");
    }

    #[test]
    fn what_is_no_traceparent_counts_as_none() {
        for odd in [
            "",
            "00",
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(TraceContext::parse(odd), None, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(trace in 1..=u128::MAX, span in 1..=u64::MAX, is_sampled: bool) {
            let context = TraceContext { trace: trace.into(), span: span.into(), is_sampled };
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }
    }
}
