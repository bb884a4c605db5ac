//! Pages of lists: sizes, and tokens that say where the next page begins.
//!
//! A token holds the last name of its page and a checksum of the filters, so that any node can go on from it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::validate::Invalid;
use crate::limits::{PAGE_DEFAULT, PAGE_MOST, PAGE_TOKEN_BYTES};

/// A checked request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The last name of the former page.
    pub(super) after: Option<String>,
    /// At most so many items.
    pub(super) size: usize,
    filters: u64,
}

impl Page {
    /// Reads a page's size and token; `filters` is what must stay the same from page to page.
    ///
    /// # Errors
    /// A size or a token that cannot be right, or a token of other filters.
    pub(super) fn read(size: i32, token: &str, filters: &[&str]) -> Result<Self, Invalid> {
        let size = usize::try_from(size).map_err(|_| Invalid::new("page_size", "must not be negative"))?;
        if size > PAGE_MOST {
            return Err(Invalid::new("page_size", format!("{size}, at most {PAGE_MOST} are allowed")));
        }
        let filters = checksum(filters);
        let size = if size == 0 { PAGE_DEFAULT } else { size };
        if token.is_empty() {
            return Ok(Self { after: None, size, filters });
        }
        let bad = || Invalid::new("page_token", "not a token of this list");
        if token.len() > PAGE_TOKEN_BYTES {
            return Err(bad());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let (of, after) = bytes.split_at_checked(size_of::<u64>()).ok_or_else(bad)?;
        let after = String::from_utf8(after.to_vec()).map_err(|_| bad())?;
        if of != filters.to_be_bytes() {
            return Err(Invalid::new(
                "page_token",
                "belongs to another list: the filters must stay the same",
            ));
        }
        Ok(Self { after: Some(after), size, filters })
    }

    /// How many items to look for: one more than the page holds tells whether there is a next one.
    pub(super) fn limit(&self) -> usize {
        self.size + 1
    }

    /// Cuts the items down to the page; the token of the next one, empty if this is the last.
    pub(super) fn cut<T>(&self, items: &mut Vec<T>, name: impl Fn(&T) -> &str) -> String {
        if items.len() <= self.size {
            return String::new();
        }
        items.truncate(self.size);
        let Some(last) = items.last() else { return String::new() };
        let mut bytes = self.filters.to_be_bytes().to_vec();
        bytes.extend_from_slice(name(last).as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// FNV-1a, because the same filters must give the same sum on every node and in every version.
fn checksum(parts: &[&str]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(OFFSET, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages through sorted names as the services do.
    fn pages(names: &[String], size: i32) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let page = Page::read(size, &token, &["default"]).expect("a page");
            let after = names.iter().filter(|name| page.after.as_ref().is_none_or(|after| *name > after));
            let mut items: Vec<String> = after.take(page.limit()).cloned().collect();
            token = page.cut(&mut items, |name| name);
            pages.push(items);
            if token.is_empty() {
                return pages;
            }
        }
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole_list(
            names in prop::collection::btree_set("[a-z]{1,4}", 0..40), size in 1..12,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let pages = pages(&names, size);
            prop_assert!(pages.iter().all(|page| page.len() <= size as usize));
            prop_assert_eq!(pages.concat(), names);
        }

        #[test]
        fn no_token_is_taken_for_something_else(token in ".{0,40}") {
            let _ = Page::read(0, &token, &["default"]);
        }
    }

    #[test]
    fn a_token_of_other_filters_is_refused() {
        let mut items = vec!["a".to_owned(), "b".to_owned()];
        let token = Page::read(1, "", &["default", "sign"]).expect("a page").cut(&mut items, |name| name);
        assert!(Page::read(1, &token, &["default", "sign"]).is_ok());
        let error = Page::read(1, &token, &["default", "print"]).expect_err("an error");
        assert_eq!(error.to_string(), "page_token: belongs to another list: the filters must stay the same");
        assert!(Page::read(1, &token, &["defaultsign", ""]).is_err());
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(Page::read(0, "", &[]).expect("a page").size, PAGE_DEFAULT);
        assert_eq!(Page::read(1_000, "", &[]).expect("a page").size, PAGE_MOST);
        let error = Page::read(1_001, "", &[]).expect_err("an error");
        assert_eq!(error.to_string(), "page_size: 1001, at most 1000 are allowed");
        assert!(Page::read(-1, "", &[]).is_err());
        assert!(Page::read(0, "!!", &[]).is_err());
    }
}
