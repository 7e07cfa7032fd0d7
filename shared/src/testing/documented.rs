//! Parts of the documentation that tests use.

/// The permissions of the Redis user in docs/OPERATIONS.md, as the arguments of `ACL SETUSER <name>`.
///
/// # Panics
/// When the documentation does not contain the command.
#[must_use]
pub fn redis_rights() -> Vec<String> {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let (_, rest) = text.split_once("ACL SETUSER trident ").expect("docs/OPERATIONS.md has the command");
    let (command, _) = rest.split_once("```").expect("the block ends");
    command.split_whitespace().map(str::to_owned).collect()
}
