//! What the library says to Azure in a way that not every service understands: one delete.
//!
//! It knows deletes only in batches, which Azurite refuses to those who come with a shared access signature, and which cost
//! as much as what they hold.

use http::{Method, StatusCode};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};

use super::trouble::{Failure, Trouble};
use crate::Error;

/// A container.
pub(super) struct Azure {
    /// The container in messages.
    pub container: String,
    /// The container's address.
    pub base: String,
    pub account: String,
    pub credentials: AzureCredentialProvider,
    pub client: HttpClient,
}

impl Azure {
    /// Removes an object; false when there is none.
    pub async fn delete(&self, path: &str, key: &str) -> Result<bool, Failure> {
        let unsound =
            |error: http::Error| Failure::last(Error::Refused { path: path.to_owned(), source: error.into() });
        let url = format!("{}/{key}", self.base);
        let request = http::Request::builder().method(Method::DELETE).uri(url);
        let mut request = request.body(HttpRequestBody::empty()).map_err(unsound)?;
        let failed = |error| Failure::of(&self.container, path, error);
        let credential = self.credentials.get_credential().await.map_err(failed)?;
        AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request).map_err(failed)?;
        let answer = self.client.execute(request).await;
        let answer = answer.map_err(|error| Failure::of_http(&self.container, path, error))?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => {
                let (code, message) = (String::new(), "it does not delete the object".to_owned());
                let trouble = Trouble::Refused { status: status.as_u16(), code, message, retry_after: None };
                Err(Failure::of_trouble(&self.container, path, trouble))
            }
        }
    }
}
