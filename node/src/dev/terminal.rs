//! What is printed, and how: plain text, bold and dim only where a person looks at it.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

/// Standard output.
#[derive(Debug)]
pub(super) struct Terminal {
    styled: bool,
    begun: Instant,
}

impl Terminal {
    /// Styled only on a terminal, and never where `NO_COLOR` asks for none (<https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { styled: wanted && std::io::stdout().is_terminal(), begun: Instant::now() }
    }

    /// A line of progress, with the time since the start.
    pub(super) fn say(&self, line: String) {
        let seconds = self.begun.elapsed().as_secs_f32();
        self.show(&format!("{} {line}\n", self.dim(&format!("{seconds:6.1} s"))));
    }

    /// Text as it is. A closed pipe is no reason to leave a cluster behind, so errors are passed over.
    pub(super) fn show(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.style("1", text)
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.style("2", text)
    }

    fn style(&self, code: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
