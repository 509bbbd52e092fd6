//! PG03xx: plugins and their host.

codes! {
    NOT_A_COMPONENT = 301,
    title: "Plugin is not a component",
    means: "The file is not a WebAssembly component, so it can't be loaded as a plugin.",
    cause: "A core module instead of a component, a file of another kind, or a cut-off download.",
    fix: "Build the plugin as a component, and give the file that the build wrote. The message says what was found in its place.",
    example: "cargo build --release --target wasm32-wasip2\nphasegate plugin inspect FILE.wasm";
    INTERFACE_MISMATCH = 302,
    title: "Plugin speaks another interface",
    means: "The plugin exports or imports interfaces, or versions of them, that this engine does not have.",
    cause: "A plugin built for another version of the engine, or a plugin of another kind than is asked for.",
    fix: "Rebuild the plugin against the versions named, or use another one.",
    example: "expected phasegate:gate/gate@0.1.0, found phasegate:gate/gate@0.2.0";
    PLUGIN_TRAPPED = 303,
    title: "Plugin trapped",
    means: "The plugin stopped in the middle of a call because of a fault of its own. The engine and the run are not harmed.",
    cause: "A panic, an unhandled exception or a stack overflow in the plugin.",
    fix: "Look at the plugin's output in the message and report it to its author; pin the previous version meanwhile.",
    example: "phasegate status RUN --output json";
    PLUGIN_TIMED_OUT = 304,
    title: "Plugin took too long",
    means: "A call did not end within its time and was stopped.",
    cause: "An endless loop, or a host that does not answer.",
    fix: "Check what the plugin talks to; raise `plugins.timeout` in the policy if the work needs it.",
    example: "plugins:\n  timeout: 30s";
    PLUGIN_OUT_OF_MEMORY = 305,
    title: "Plugin ran out of memory",
    means: "The plugin asked for more memory than it may have.",
    cause: "A large answer that is read in one piece, or a leak.",
    fix: "Narrow the plugin's query, or raise `plugins.memoryMiB` in the policy.",
    example: "plugins:\n  memoryMiB: 128";
    PLUGIN_DENIED = 306,
    title: "Plugin was denied",
    means: "The plugin asked for something that it was not granted: a host, an object, a program or a credential.",
    cause: "A new version of the plugin asks for more, or the grant was never written.",
    fix: "If it should be allowed, grant it in the policy as the hint shows.",
    example: "the message names what was asked for and the line that would grant it";
    PLUGIN_MISCONFIGURED = 307,
    title: "Plugin's config is wrong",
    means: "The config given to a plugin does not fit what the plugin takes.",
    cause: "A field that the plugin does not know, a missing one, or a value that it refuses.",
    fix: "Correct the value at the line named; `phasegate plugin inspect NAME` prints the schema.",
    example: "phasegate plugin inspect http";
    PLUGIN_FAILED = 308,
    title: "Plugin failed for good",
    means: "The plugin says that it can't do what was asked, and that asking again would not help.",
    cause: "What the plugin talks to refuses the request.",
    fix: "Read the plugin's message; correct what it names and retry.",
    example: "phasegate retry RUN";
    PLUGIN_NOT_FOUND = 309,
    title: "Plugin not found",
    means: "There is no plugin at the place or of the name given.",
    cause: "A typing error, or a plugin that has not been built yet.",
    fix: "Check the path; `phasegate plugin list` shows what is built in.",
    example: "phasegate plugin list";
    PLUGIN_DIGEST_DIFFERS = 310,
    title: "Plugin is not the one pinned",
    means: "The bytes of the plugin have another SHA-256 digest than the release or the plan pins.",
    cause: "The plugin was rebuilt or replaced after it was pinned.",
    fix: "If the change is meant, put the new digest into the release and plan again; if not, find out who changed it.",
    example: "plugins:\n  errors:\n    path: plugins/errors.wasm\n    digest: sha256:…";
    PLUGIN_OFFER_UNKNOWN = 311,
    title: "Plugin does not offer this",
    means: "The plugin has no offer of the kind or name that the release asks for.",
    cause: "A gate named where a strategy belongs, or an offer that needs to be chosen with `offer`.",
    fix: "Name one of the offers listed.",
    example: "strategy: {plugin: progressive, offer: canary}";
    PLUGIN_RETRIES_EXHAUSTED = 312,
    title: "Plugin did not succeed in time",
    means: "The plugin asked to be called again until the limit of attempts was reached.",
    cause: "What it talks to stayed out of reach.",
    fix: "Look at the last message; make the service reachable and retry.",
    example: "phasegate retry RUN";
}
