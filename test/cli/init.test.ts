import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { writeStarterDefinition } from '#src/cli/actions/init'
import { planDefinition } from '#src/cli/plan/definition'
import { checkDefinition } from '#src/pipelines/check'
import { definitionOf } from '#src/pipelines/definition'
import { readDefinition } from '#src/pipelines/read-definition'
import { runPipeline } from '#src/pipelines/run'
import { checkMonitoring } from '#src/pipelines/sinks'
import { blockGeometry } from '#src/sampling/block'
import { inFolder } from '../monitoring/fixtures.js'

const lines = (count: number, record: (index: number) => unknown): string =>
  Array.from({ length: count }, (_, index) => `${JSON.stringify(record(index))}\n`).join('')

/** Options of each stage in a generated definition. */
function stagesOf(file: string): Record<string, Record<string, unknown>> {
  const definition = readDefinition(readFileSync(file, 'utf8'), file)
  const pipelines = checkDefinition(definition)
  checkMonitoring(definition, pipelines)
  const steps = pipelines.flatMap(({ chain }) => [...chain.steps, ...chain.fork.flatMap(branch => branch.steps)])
  return Object.fromEntries(steps.map(({ name, options }) => [name, options]))
}

describe('init', () => {
  it('writes a valid definition for the field with the most text', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a "b".jsonl'), join(folder, 'a.yaml')]
      const record = { id: 'x', meta: { 'the body': 'many words '.repeat(20) }, title: 'short' }
      writeFileSync(
        source,
        lines(50, () => record),
      )
      expect(await writeStarterDefinition([source], output, {})).toContain('.meta["the body"]')
      const stages = stagesOf(output)
      expect(Object.keys(stages)).toContain('train-tokenizer')
      expect(stages['extract-text']).toMatchObject({ field: '.meta["the body"]', faulty: 'fail' })
      expect(stages['read-file']).toMatchObject({ path: source })
    })
  })

  it.each([3, 30, 300, 2000])('holds out enough samples for a batch, or none: %i lines', async count => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a.jsonl'), join(folder, 'a.yaml')]
      const text = (index: number): string => `${index} birds of the same feather flock together over and over again`
      writeFileSync(
        source,
        lines(count, index => ({ id: `${index}`, text: text(index) })),
      )
      await writeStarterDefinition([source], output, {})
      const { 'feed-trainer': trainer, 'shuffle-samples': samples } = stagesOf(output)
      // Five bytes per token, as for tokens that are whole words.
      const tokens = (count * text(0).length) / 5
      const { from } = (trainer!.held_out ?? { from: 1 }) as { from: number }
      expect(samples!.to).toBe(from)
      const { count: all } = blockGeometry(tokens, samples!.sequence_length as number, true)
      if (from < 1) expect(all - Math.round(from * all)).toBeGreaterThanOrEqual(trainer!.batch_size as number)
      expect(Math.round(from * all)).toBeGreaterThanOrEqual(samples!.batch_size as number)
      expect(count < 2000 || from === 0.9).toBe(true)
    })
  })

  it('quarantines faulty lines if the sample contains some, and uses a given tokenizer', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a.jsonl'), join(folder, 'a.yaml')]
      writeFileSync(source, `${lines(10, () => ({ text: 'words' }))}[1, 2]\n{"text": 3}\n`)
      await writeStarterDefinition([source], output, { tokenizer: 'my/tokenizer.json' })
      const stages = stagesOf(output)
      expect(stages['train-tokenizer']).toBeUndefined()
      expect(stages['tokenize-batches']).toMatchObject({ tokenizer: 'my/tokenizer.json', faulty: 'quarantine' })
    })
  })

  it('samples start, middle and end of a large file, and its definition packs the file', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a.jsonl'), join(folder, 'a.yaml')]
      const records = lines(9000, index => ({ n: index, text: `number ${index} ${'more words '.repeat(30)}` })).split(
        '\n',
      )
      const odd: Record<number, string> = {
        4500: 'no json',
        4501: '',
        4502: '[1, 2]',
        8990: '{"n": 1}',
        8991: '{"text": 5}',
      }
      writeFileSync(source, records.map((record, index) => odd[index] ?? record).join('\n'))
      const summary = await writeStarterDefinition([source], output, {})
      expect(summary).toMatch(/3 of them faulty; the first: .*expected a value/)
      expect(readFileSync(output, 'utf8')).toMatch(/# Of [\d,]+ sampled records, 3 are faulty and 2 lack the field/)
      const [tokenizer, pack] = checkDefinition(readDefinition(readFileSync(output, 'utf8'), output))
      for (const pipeline of [tokenizer!, pack!]) {
        const { stages } = await runPipeline(pipeline)
        expect(stages.reduce((sum, { stats }) => sum + stats.rejected, 0)).toBe(5)
      }
      const problemsWith = async (faulty: string) => {
        const text = { 'extract-text': { faulty } }
        const words = { 'count-words': { path: join(folder, 'a.words') } }
        const stages = [{ 'read-file': { path: source } }, 'read-lines', { 'validate-json': { faulty } }, text, words]
        return (await planDefinition(definitionOf({ stages }))).problems
      }
      expect(await problemsWith('skip')).toMatchObject([{ severity: 'warning', message: '5 faulty records' }])
      expect(await problemsWith('fail')).toMatchObject([
        { severity: 'error', message: expect.stringMatching(/:4501:/) },
      ])
    })
  })

  it('writes a fault policy if it did not sample all records', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a.jsonl'), join(folder, 'a.yaml')]
      writeFileSync(
        source,
        lines(5000, index => ({ text: `number ${index} ${'more words '.repeat(30)}` })),
      )
      await writeStarterDefinition([source], output, {})
      expect(stagesOf(output)['validate-json']).toMatchObject({ faulty: 'quarantine' })
    })
  })

  it.each([
    ['text', 'OPTION_INVALID', 'did you mean .text?'],
    ['.txt', 'FIELD_MISSING', 'they have .text, .title; did you mean .text?'],
  ])('rejects the field %s with advice', async (field, code, advice) => {
    await inFolder(async folder => {
      const source = join(folder, 'a.jsonl')
      writeFileSync(source, '{"text":"a","title":"b"}\n')
      const failure = await writeStarterDefinition([source], join(folder, 'a.yaml'), { field }).catch(error => error)
      expect(failure.code).toBe(code)
      expect(failure.message).toContain(advice)
    })
  })

  it('samples a compressed file', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'a.jsonl.gz'), join(folder, 'a.yaml')]
      writeFileSync(source, gzipSync(lines(5000, index => ({ n: index, text: `words ${'more '.repeat(50)}` }))))
      await writeStarterDefinition([source], output, {})
      expect(stagesOf(output)['extract-text']).toMatchObject({ field: '.text' })
    })
  })

  it('rejects unsuitable sources and existing outputs', async () => {
    await inFolder(async folder => {
      const at = (name: string) => join(folder, name)
      writeFileSync(at('numbers.jsonl'), '1\n2\n')
      writeFileSync(at('textless.jsonl'), '{"a":1}\n')
      writeFileSync(at('good.jsonl'), '{"text":"a"}\n')
      writeFileSync(at('taken.yaml'), 'mine')
      const failure = (source: string, output: string) =>
        writeStarterDefinition([at(source)], at(output), {}).catch(error => error.code)
      expect(await failure('none.jsonl', 'a.yaml')).toBe('FILE_MISSING')
      expect(await failure('numbers.jsonl', 'a.yaml')).toBe('JSON_INVALID')
      expect(await failure('textless.jsonl', 'a.yaml')).toBe('FIELD_MISSING')
      expect(await failure('good.jsonl', 'taken.yaml')).toBe('FILE_EXISTS')
      expect(readFileSync(at('taken.yaml'), 'utf8')).toBe('mine')
    })
  })
})

describe('completion', () => {
  const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
  const script = (shell: string): string =>
    execFileSync(process.execPath, [main, 'completion', shell], { encoding: 'utf8' })

  /** Completions that bash offers after some words. */
  function completions(...words: string[]): string[] {
    const code = `${script('bash')}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _penstock; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['-c', code, 'bash', ...words], { encoding: 'utf8', cwd: '/' })
      .trim()
      .split('\n')
  }

  it('completes commands, options, choices and files in bash', () => {
    expect(completions('penstock', 'gr')).toEqual(['graph'])
    expect(completions('penstock', 'plan', '--j')).toEqual(['--json'])
    expect(completions('penstock', 'graph', '--format', '')).toEqual(['svg', 'mermaid'])
    expect(completions('penstock', 'completion', 'fis')).toEqual(['fish'])
    expect(completions('penstock', 'plan', 'et')).toContain('etc')
  })

  it('generates scripts for fish and zsh', () => {
    expect(script('fish')).toMatch(/^complete -c penstock -n __fish_use_subcommand -f -a quickstart -d '.+'$/m)
    expect(script('zsh')).toContain('bashcompinit')
  })
})

describe('init for other formats', () => {
  it.each([
    ['a JSON array', 'a.json', JSON.stringify([{ body: 'some words' }, { body: 'more words' }])],
    ['a CSV file', 'a.csv', 'id,body\n1,some words\n2,more words\n'],
  ])('writes a definition that reads %s', async (_, name, content) => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, name), join(folder, 'a.yaml')]
      writeFileSync(source, content)
      expect(await writeStarterDefinition([source], output, {})).toContain('.body')
      expect(stagesOf(output)['read-corpus']).toMatchObject({ sources: [source], field: '.body' })
    })
  })

  it('writes a definition that reads a folder of text files whole', async () => {
    await inFolder(async folder => {
      const [source, output] = [join(folder, 'texts'), join(folder, 'a.yaml')]
      mkdirSync(source)
      for (const name of ['b.txt', 'a.txt']) writeFileSync(join(source, name), `text ${name}`)
      expect(await writeStarterDefinition([source], output, {})).toContain('text of each file')
      const { 'read-corpus': corpus } = stagesOf(output)
      expect(corpus).toMatchObject({ sources: [source], faulty: 'fail' })
    })
  })
})
