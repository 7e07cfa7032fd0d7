//! `standalone token`: prints a signed token to stdout, and nothing else, for use in `$(…)`.

use std::{
    io,
    time::{Duration, SystemTime},
};

use clap::ArgMatches;
use edge::{
    Settings,
    auth::{TokenRequest, mint},
    settings::Secret,
};
use rand::{TryRng as _, rngs::SysRng};
use shared::pure::access::{ApiRight, Patterns};

/// Prints the token for `matches`.
///
/// # Errors
/// Without `TRIDENT_SECRET`: there is nothing to sign with.
pub fn print(settings: &Settings, matches: &ArgMatches) -> Result<(), String> {
    let secret = settings.secrets.first().ok_or(
        "there is nothing to sign with: set TRIDENT_SECRET (--secret) to the same value as on the servers, \
         32 bytes or more, as `openssl rand -hex 32` makes them",
    )?;
    let patterns = |name| matches.get_one::<Patterns>(name).cloned().unwrap_or_default();
    let text = |name| matches.get_one::<String>(name).cloned();
    let request = TokenRequest {
        publish: patterns("publish"),
        subscribe: patterns("subscribe"),
        api: text("api")
            .map(|right| if right == "write" { ApiRight::Write } else { ApiRight::Read })
            .into_iter()
            .collect(),
        ttl: matches.get_one("ttl").copied().unwrap_or(Duration::from_secs(3600)),
        subject: text("sub"),
        audience: text("aud").or_else(|| settings.audience.clone()),
    };
    if request.publish.is_empty() && request.subscribe.is_empty() && request.api.is_empty() {
        eprintln!("note: this token grants no access; set channels with --publish and --subscribe");
    }
    println!("{}", mint(secret, &request, SystemTime::now()).map_err(|error| error.to_string())?);
    Ok(())
}

/// A random secret: 256 bits from the operating system.
///
/// # Errors
/// When the operating system provides no random bytes.
pub fn fresh_secret() -> io::Result<Secret> {
    let mut bytes = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(&text).map_err(io::Error::other)
}
