import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { cudaRequirements, installNativeBackend } from '#src/training/tfjs/native/install'
import { cudaLibraries, libraryEntries, nativeFolder } from '#src/training/tfjs/native/recipe'
import { openNativeBackend } from '#src/training/tfjs/native-backend'

let cache: string

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'penstock-test-'))
  vi.stubEnv('XDG_CACHE_HOME', cache)
})

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  rmSync(cache, { recursive: true })
})

const install = () => installNativeBackend('node', () => {})

describe('an installation', () => {
  test('that exists is reused', async () => {
    mkdirSync(nativeFolder('node'), { recursive: true })
    vi.stubEnv('PATH', '')
    expect(await install()).toEqual({ folder: nativeFolder('node'), made: false })
  })

  test('is rejected on other platforms', async () => {
    vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin')
    await expect(install()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  test.runIf(process.platform === 'linux')('is rejected without glibc', async () => {
    vi.spyOn(process.report, 'getReport').mockReturnValue({ header: {} } as never)
    await expect(install()).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('musl') })
  })

  test.runIf(process.platform === 'linux' && process.arch === 'x64')(
    'reports a missing program before it downloads anything',
    async () => {
      vi.stubEnv('CXX', '/no/such/compiler -O2')
      const missing = { code: 'PEER_MISSING', message: expect.stringContaining('/no/such/compiler') }
      await expect(install()).rejects.toMatchObject(missing)
      vi.stubEnv('PATH', '')
      await expect(install()).rejects.toMatchObject({ code: 'PEER_MISSING', message: expect.stringContaining('npm') })
    },
  )

  test.runIf(process.platform === 'linux' && process.arch === 'x64')(
    'is rejected while another process installs the same one',
    async () => {
      mkdirSync(join(cache, 'penstock'), { recursive: true })
      writeFileSync(`${nativeFolder('node')}.lock`, String(process.pid))
      await expect(install()).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    },
  )

  test('that is missing is reported by the backend with the setup command', async () => {
    const missing = { code: 'PEER_MISSING', message: expect.stringContaining('penstock setup tfjs-node') }
    await expect(openNativeBackend('node')).rejects.toMatchObject(missing)
  })
})

describe('the unpacked files', () => {
  // Names from the wheels of TensorFlow 2.15 to 2.20 and NVIDIA.
  test('of the library are the shared objects and the headers of the C API', () => {
    const wanted = (name: string) => libraryEntries.test(name)
    for (const name of [
      'libtensorflow_cc.so.2',
      'libtensorflow_framework.so.2',
      'include/tensorflow/c/c_api.h',
      'include/tensorflow/c/eager/c_api.h',
      'include/tensorflow/core/platform/ctstring_internal.h',
      'include/tsl/platform/ctstring.h',
      'include/tsl/c/tsl_status.h',
      'include/xla/tsl/c/tsl_status.h',
    ]) {
      expect(wanted(`tensorflow/${name}`), name).toBe(true)
    }
    for (const name of [
      'python/_pywrap_tensorflow_internal.so',
      'include/external/eigen/Core.h',
      'include/tensorflow/c/experimental/next_pluggable_device/c_api.h',
      'core/kernels/libtfkernel_sobol_op.so',
    ]) {
      expect(wanted(`tensorflow/${name}`), name).toBe(false)
    }
  })

  test("of NVIDIA's wheels are the shared objects", () => {
    expect(cudaLibraries.test('nvidia/cudnn/lib/libcudnn.so.8')).toBe(true)
    expect(cudaLibraries.test('nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.3')).toBe(true)
    expect(cudaLibraries.test('nvidia/cudnn/include/cudnn.h')).toBe(false)
    expect(cudaLibraries.test('nvidia/cudnn/lib/__init__.py')).toBe(false)
  })

  test('include the versions in the extra of the wheel', () => {
    const metadata = [
      'Requires-Dist: numpy <2.0.0,>=1.23.5 ; python_version <= "3.11"',
      "Requires-Dist: nvidia-cublas-cu12 ==12.3.4.1 ; extra == 'and-cuda'",
      'Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == "and-cuda"',
    ]
    expect(cudaRequirements(metadata.join('\n'))).toEqual([
      'nvidia-cublas-cu12==12.3.4.1',
      'nvidia-cudnn-cu12<10.0,>=9.3.0.75',
    ])
  })
})
