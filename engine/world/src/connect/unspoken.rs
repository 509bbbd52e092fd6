//! Words for those errors of a client whose own words may hold a secret.
//!
//! A credential program's error carries its environment, its arguments and all that it printed; a kubeconfig that
//! can't be read is quoted, tokens included; a proxy's address may have a password in it. What is told instead is
//! listed here, one by one, and an error that is not listed has its kind told and nothing of its content.

use std::error::Error;
use std::io;

use kube::client::AuthError;
use kube::config::KubeconfigError;

/// How many errors beneath an error are looked at.
const MAX_CAUSES: usize = 16;

/// An error and those beneath it, the ones that an I/O error was made of included.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let beneath = |&current: &&'a (dyn Error + 'static)| {
        // What an I/O error was made of is not among its sources.
        let within: Option<&'a (dyn Error + 'static)> = match current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(within) => Some(within),
            None => current.source(),
        };
        within
    };
    std::iter::successors(Some(error), beneath).take(MAX_CAUSES)
}

/// What is wrong with the credentials, where that is what is wrong.
pub(crate) fn about_credentials(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<AuthError>())
        .map(auth)
}

/// What is told instead of an error's own words, where those may hold a secret.
pub(crate) fn instead(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<AuthError>() {
            return Some(auth(error));
        }
        if let Some(KubeconfigError::Parse(error)) = cause.downcast_ref() {
            return Some(match error.location() {
                Some(at) => format!(
                    "it is not understood at line {}, column {}",
                    at.line(),
                    at.column()
                ),
                None => "it is not understood".to_owned(),
            });
        }
        match cause.downcast_ref::<kube::Error>() {
            Some(
                kube::Error::ProxyProtocolUnsupported { proxy_url }
                | kube::Error::ProxyProtocolDisabled { proxy_url, .. },
            ) => Some(format!(
                "the proxy's protocol `{}` is not one that can be spoken",
                proxy_url.scheme_str().unwrap_or_default()
            )),
            _ => None,
        }
    })
}

fn auth(error: &AuthError) -> String {
    let told = match error {
        // `cmd` has the program's environment and arguments in it, `out` what it printed.
        AuthError::AuthExecRun { out, .. } => {
            return format!("the credential program ended with {}", out.status);
        }
        AuthError::AuthExecStart(error) => {
            return format!("the credential program can't be run: {error}");
        }
        AuthError::ReadTokenFile(error, path) => {
            return format!("the token file {} can't be read: {error}", path.display());
        }
        AuthError::NoValidNativeRootCA(error) => {
            return format!("the certificates of this machine can't be read: {error}");
        }
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            "a credential program printed something that is no credential"
        }
        AuthError::AuthExec(_) => "the credential program can't be run",
        AuthError::ExecPluginFailed => "the credential program's answer has no status",
        AuthError::MissingCommand => "the kubeconfig names no credential program to run",
        AuthError::MalformedTokenExpirationDate(_) => {
            "the time at which the token expires is not understood"
        }
        AuthError::InvalidBasicAuth(_) => "user name and password can't be sent in a header",
        AuthError::InvalidBearerToken(_) => "the token can't be sent in a header",
        _ => "the credentials can't be had",
    };
    told.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::super::super::kubernetes::chain;
    use super::*;

    const PLANTED: &str = "hunter2";

    fn run() -> AuthError {
        AuthError::AuthExecRun {
            cmd: format!("TOKEN={PLANTED:?} \"login\" \"--password={PLANTED}\""),
            out: Box::new(std::process::Output {
                status: std::process::ExitStatus::from_raw(256),
                stdout: format!("{{\"token\": {PLANTED:?}}}").into_bytes(),
                stderr: PLANTED.into(),
            }),
        }
    }

    fn kubeconfig() -> KubeconfigError {
        let text = format!("users:\n- user:\n    token: [{PLANTED}\n");
        kube::config::Kubeconfig::from_yaml(&text).unwrap_err()
    }

    #[test]
    fn no_error_tells_what_a_credential_program_was_given_or_printed() {
        let error = kube::Error::Auth(run());
        assert!(error.to_string().contains(PLANTED), "the test is void");
        let beneath = kube::Error::Service(Box::new(io::Error::other(run())));
        for error in [&error, &beneath] {
            let told = chain(error);
            assert!(told.contains("exit status: 1"), "{told}");
            assert!(!told.contains(PLANTED), "{told}");
            assert_eq!(about_credentials(error), Some(told));
        }
        let other = AuthError::AuthExec(format!("--token {PLANTED}"));
        assert!(!chain(&other).contains(PLANTED));
    }

    #[test]
    fn a_kubeconfig_that_is_not_understood_is_not_quoted() {
        let error = kubeconfig();
        assert!(error.to_string().contains(PLANTED), "the test is void");
        let told = chain(&error);
        assert!(told.contains("line"), "{told}");
        assert!(!told.contains(PLANTED), "{told}");
    }

    #[test]
    fn a_proxys_address_is_not_told() {
        let url: ::http::Uri = format!("ftp://me:{PLANTED}@proxy.example").parse().unwrap();
        let error = kube::Error::ProxyProtocolUnsupported {
            proxy_url: Box::new(url),
        };
        let told = chain(&error);
        assert!(told.contains("`ftp`") && !told.contains(PLANTED), "{told}");
    }

    #[test]
    fn what_holds_no_secret_is_told_as_it_is() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(instead(&error), None);
        assert_eq!(chain(&error), error.to_string());
    }
}
