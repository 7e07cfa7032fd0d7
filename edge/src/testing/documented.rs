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

#[cfg(test)]
mod tests {
    use shared::testing::redis::BUS_RIGHTS;

    use super::*;

    /// Case 8.2: a user with the documented rights has those with which the tests of the bus run.
    #[test]
    fn documented_rights_include_those_of_the_bus() {
        let documented = redis_rights();
        let missing: Vec<_> = BUS_RIGHTS.iter().filter(|right| !documented.iter().any(|one| one == *right)).collect();
        assert!(missing.is_empty(), "docs/OPERATIONS.md lacks {missing:?}");
    }
}
