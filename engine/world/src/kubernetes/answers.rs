//! What was answered lately to looks, and what was made of it. A look asks for the same objects again and again, and
//! mostly they are as they were: then they needn't be read into types anew, nor be judged.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::time::Timestamp;
use phasegate_core::workload::{Observation, Target};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::family::{MAX_OBJECTS, PodObject};
use super::fault::Fault;
use super::lean::Lean;
use super::path::{Resource, with_query};
use super::transport::{Call, parsed};
use super::{KubeCluster, PAGE, Page, Problem, call, found, subject};

/// Most answers that are kept: a look at both sides of a target takes six.
const MAX_ANSWERS: usize = 12;
/// Longest answer that is kept.
const MAX_BYTES: usize = 1 << 20;
/// Most Deployments of which it is kept what was seen last: each side has one.
const MAX_SEEN: usize = 4;
/// Where the objects of a list begin. What stands before them tells the list's version, which is always another.
const ITEMS: &[u8] = b"\"items\":";
/// How a list says that it goes on.
const CONTINUE: &[u8] = b"\"continue\":";
/// How far the objects of a list can be from its beginning.
const MAX_HEAD: usize = 1024;

/// Answers by what was asked for, and what was seen by Deployment; the oldest first.
#[derive(Default)]
pub(super) struct Answers {
    kept: Mutex<VecDeque<Kept>>,
    seen: Mutex<VecDeque<Seen>>,
}

struct Kept {
    target: String,
    answer: Vec<u8>,
    read: Box<dyn Any + Send + Sync>,
}

/// What was seen of a Deployment, and by which objects.
struct Seen {
    target: Target,
    found: Arc<Value>,
    pods: Vec<Arc<PodObject>>,
    autoscalers: Vec<Arc<Value>>,
    seen: Observation,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left whole entries.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the newest of what there are many of.
fn keep<T>(all: &mut VecDeque<T>, newest: T, most: usize, replaces: impl Fn(&T) -> bool) {
    all.retain(|kept| !replaces(kept));
    if all.len() >= most {
        all.pop_front();
    }
    all.push_back(newest);
}

impl Answers {
    fn same<T: Clone + 'static>(
        &self,
        target: &str,
        answer: &[u8],
        what_counts: fn(&[u8]) -> &[u8],
    ) -> Option<T> {
        let known = locked(&self.kept);
        let kept = known.iter().find(|kept| kept.target == target)?;
        if what_counts(&kept.answer) != what_counts(answer) {
            return None;
        }
        kept.read.downcast_ref::<T>().cloned()
    }

    fn keep<T: Clone + Send + Sync + 'static>(&self, target: String, answer: Vec<u8>, read: &T) {
        if answer.len() > MAX_BYTES {
            return;
        }
        let read = Box::new(read.clone());
        let newest = Kept {
            target: target.clone(),
            answer,
            read,
        };
        keep(&mut locked(&self.kept), newest, MAX_ANSWERS, |kept| {
            kept.target == target
        });
    }

    /// What is seen of a Deployment, made anew only where one of its objects is another than the last time.
    pub(super) fn seen<E>(
        &self,
        at: Timestamp,
        target: &Target,
        found: &Arc<Value>,
        (pods, autoscalers): (&[Arc<PodObject>], &[Arc<Value>]),
        see: impl FnOnce() -> Result<Observation, E>,
    ) -> Result<Observation, E> {
        let last = locked(&self.seen).iter().find_map(|last| {
            let same = last.target == *target
                && Arc::ptr_eq(&last.found, found)
                && all_the_same(&last.pods, pods)
                && all_the_same(&last.autoscalers, autoscalers);
            same.then(|| last.seen.clone())
        });
        if let Some(last) = last {
            return Ok(Observation { at, ..last });
        }
        let seen = see()?;
        let newest = Seen {
            target: target.clone(),
            found: Arc::clone(found),
            pods: pods.to_vec(),
            autoscalers: autoscalers.to_vec(),
            seen: seen.clone(),
        };
        keep(&mut locked(&self.seen), newest, MAX_SEEN, |last| {
            last.target == *target
        });
        Ok(seen)
    }
}

fn all_the_same<T>(some: &[Arc<T>], others: &[Arc<T>]) -> bool {
    let pairs = || some.iter().zip(others);
    some.len() == others.len() && pairs().all(|(one, other)| Arc::ptr_eq(one, other))
}

/// A whole answer.
fn all(answer: &[u8]) -> &[u8] {
    answer
}

/// A list without what it says of itself, unless that is that it goes on.
fn objects(answer: &[u8]) -> &[u8] {
    let head = answer.get(..MAX_HEAD.min(answer.len())).unwrap_or_default();
    let place = |of: &[u8]| head.windows(of.len()).position(|found| found == of);
    match place(ITEMS) {
        Some(begin) if place(CONTINUE).is_none_or(|at| at > begin) => {
            answer.get(begin..).unwrap_or(answer)
        }
        _ => answer,
    }
}

impl KubeCluster {
    /// The answer, read by `read` unless what counts of it is what it was the last time.
    async fn again<T: Clone + Send + Sync + 'static>(
        &self,
        call: Call,
        what_counts: fn(&[u8]) -> &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, Problem> {
        let (target, subject) = (call.target.clone(), call.subject.clone());
        let problem = |fault| Problem::new(fault, subject.clone());
        let answer = self.transport.bytes(call).await.map_err(problem)?;
        if let Some(same) = self.answers.same(&target, &answer, what_counts) {
            return Ok(same);
        }
        let read = read(&answer).map_err(problem)?;
        self.answers.keep(target, answer, &read);
        Ok(read)
    }

    /// As `find_one`, for who looks at it again and again.
    pub(super) async fn find_again(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Problem> {
        let call = call(::http::Method::GET, "get", resource, namespace, name)?;
        let read = |answer: &[u8]| parsed(answer).map(|Lean(object)| Arc::new(object));
        found(self.again(call, all, read).await)
    }

    /// As `list_of`, for who looks at them again and again.
    pub(super) async fn list_again<T: DeserializeOwned, U: Send + Sync + 'static>(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &[(&str, &str)],
        make: impl Fn(T) -> U,
    ) -> Result<Vec<Arc<U>>, Problem> {
        let subject = subject("list", resource, Some(namespace), "");
        let path = resource
            .path(Some(namespace), "")
            .map_err(|why| Problem::new(Fault::NotSent(why), subject.clone()))?;
        let page = PAGE.to_string();
        let mut paged = query.to_vec();
        paged.push(("limit", &page));
        let call = Call::new(::http::Method::GET, with_query(&path, &paged), subject);
        // None where there are more of them than one page has.
        let read = |answer: &[u8]| {
            let page: Page<T> = parsed(answer)?;
            let whole = page.metadata.next.unwrap_or_default().is_empty();
            let items = page.items.into_iter().flatten();
            Ok(whole.then(|| items.map(|item| Arc::new(make(item))).collect::<Vec<_>>()))
        };
        match self.again(call, objects, read).await? {
            Some(whole) => Ok(whole),
            None => {
                let all = self
                    .list_of(resource, Some(namespace), query, MAX_OBJECTS)
                    .await?;
                Ok(all.into_iter().map(|item| Arc::new(make(item))).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: u32, more: &str, items: &str) -> Vec<u8> {
        let head = format!("{{\"resourceVersion\":\"{version}\"{more}}}");
        format!("{{\"kind\":\"PodList\",\"metadata\":{head},\"items\":[{items}]}}").into_bytes()
    }

    #[test]
    fn a_list_is_the_same_while_its_objects_are() {
        let answers = Answers::default();
        answers.keep("pods".to_owned(), list(1, "", "{\"a\":1}"), &7_u32);
        let same = |target: &str, answer: &[u8]| answers.same::<u32>(target, answer, objects);
        assert_eq!(same("pods", &list(2, "", "{\"a\":1}")), Some(7));
        assert_eq!(same("pods", &list(1, "", "{\"a\":2}")), None);
        assert_eq!(same("others", &list(1, "", "{\"a\":1}")), None);
        // What the first of several pages has is not all.
        let more = ",\"continue\":\"x\"";
        assert_eq!(same("pods", &list(1, more, "{\"a\":1}")), None);
        answers.keep("pods".to_owned(), list(1, more, "{\"a\":1}"), &8_u32);
        assert_eq!(same("pods", &list(1, "", "{\"a\":1}")), None);
    }

    #[test]
    fn an_object_is_the_same_while_its_bytes_are() {
        let answers = Answers::default();
        let object = b"{\"metadata\":{\"resourceVersion\":\"1\",\"labels\":{\"items\":\"2\"}}}";
        answers.keep("web".to_owned(), object.to_vec(), &1_u32);
        assert_eq!(answers.same::<u32>("web", object, all), Some(1));
        let changed = b"{\"metadata\":{\"resourceVersion\":\"2\",\"labels\":{\"items\":\"2\"}}}";
        assert_eq!(answers.same::<u32>("web", changed, all), None);
    }

    #[test]
    fn what_is_kept_is_limited() {
        let answers = Answers::default();
        for number in 0..50 {
            answers.keep(format!("{number}"), b"{}".to_vec(), &number);
        }
        assert_eq!(locked(&answers.kept).len(), MAX_ANSWERS);
        assert_eq!(answers.same::<i32>("49", b"{}", all), Some(49));
        answers.keep("long".to_owned(), vec![b' '; MAX_BYTES + 1], &1);
        assert!(locked(&answers.kept).iter().all(|it| it.target != "long"));
    }
}
