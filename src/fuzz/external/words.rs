//! A command line as words: quotes group, a backslash quotes one character; no shell is involved.

/// Splits a command.
///
/// # Errors
/// If it is empty or a quote is not closed.
pub fn split(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("{command}: a {c} is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => quoted.extend(chars.next()),
                        Some(other) => quoted.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() {
        return Err("the command is empty".to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_words() {
        let words = split(r#"python3 'my logger.py' --flag="a b" c\ d """#).unwrap();
        assert_eq!(words, ["python3", "my logger.py", "--flag=a b", "c d", ""]);
        assert!(split("  ").is_err());
        assert!(split("python3 'x").is_err());
    }
}
