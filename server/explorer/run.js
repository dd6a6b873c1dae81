// The run that the entries tell of, for display. Entries that cannot be read are left out here: the checks name them.

export function runOf(decoded) {
  const run = { opening: null, clients: [], rounds: [], settlements: [], closing: null };
  let fixed = null;
  decoded.forEach(({ entry }, index) => {
    if (entry?.kind === "agreement" && index === 0) run.opening = entry;
    if (entry?.kind === "enrolment") {
      const { client, samples, rows, proof } = entry.enrolment.statement;
      run.clients.push({ number: run.clients.length, key: client, samples, rows, proof, index, verdicts: new Map(), left: null });
    }
    if (entry?.kind === "commitments") fixed = { entry, index };
    if (entry?.kind === "round") {
      run.rounds.push({ entry, index, fixed: fixed?.entry.round === entry.round ? fixed : null });
      for (const { client, reason } of entry.verdicts) run.clients[client]?.verdicts.set(entry.round, reason);
      for (const { change, client, reason } of entry.changes ?? [])
        if (change !== "rotation" && run.clients[client]) run.clients[client].left = { round: entry.round, reason: reason ?? null };
    }
    if (entry?.kind === "settlement") run.settlements.push({ entry, index });
    if (entry?.kind === "closing") run.closing = { entry, index };
  });
  return run;
}

export const accepted = (entry) => entry.verdicts.filter(({ reason }) => reason === "accepted").length;

// What the server states of the new model: accuracy between 0 and 1, or a mean squared error.
export function score(entry, opening) {
  if (!entry.test?.total) return null;
  if (entry.test.correct !== null) return entry.test.correct / entry.test.total;
  if (entry.test["squared-error"] === null || !opening) return null;
  return entry.test["squared-error"] / 4 ** opening.agreement["fixed-point"]["logit-bits"] / entry.test.total;
}

export const isRegression = (run) => run.rounds.some(({ entry }) => entry.test && entry.test.correct === null);

export const scoreText = (value, regression) =>
  value === null ? "—" : regression ? value.toPrecision(4) : `${(100 * value).toFixed(2)} %`;
