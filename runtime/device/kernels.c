/* Kernels: the library's own, which are generated, and a user's, which belong to the device they were given to. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

const struct kernel_code *device_kernel(const tuff_device *device, uint32_t kernel) {
    if (kernel < KERNEL_COUNT) return &kernel_codes[kernel];
    return kernel - KERNEL_COUNT < device->kernel_count ? &device->kernels[kernel - KERNEL_COUNT].code : NULL;
}

bool device_kernel_counts_groups(const tuff_device *device, uint32_t kernel) {
    const struct kernel_code *code = device_kernel(device, kernel);
    return code && module_counts_groups(code->words, code->size);
}

/* ---- what a user's kernel asks for --------------------------------------------------------------- */

/* Capabilities by SPIR-V's number. Those that are absent here are not known. */
typedef enum capability_rule {
    ALWAYS,   /* every Vulkan 1.2 */
    SUBGROUP, /* if the device has the operations */
    CONTROL,  /* if the device has this control of 32-bit floats */
    FEATURE,  /* what a device must be opened with; Tuff's own are not */
} capability_rule;

typedef struct capability {
    uint32_t number;
    capability_rule rule;
    uint32_t detail; /* SUBGROUP: VkSubgroupFeatureFlags */
    char name[36];
} capability;

static const capability capabilities[] = {
    { 0, ALWAYS, 0, "Matrix" },
    { 1, ALWAYS, 0, "Shader" },
    { 43, ALWAYS, 0, "Sampled1D" },
    { 44, ALWAYS, 0, "Image1D" },
    { 46, ALWAYS, 0, "SampledBuffer" },
    { 47, ALWAYS, 0, "ImageBuffer" },
    { 50, ALWAYS, 0, "ImageQuery" },
    { 51, ALWAYS, 0, "DerivativeControl" },
    { 4437, ALWAYS, 0, "DeviceGroup" },
    { 61, SUBGROUP, VK_SUBGROUP_FEATURE_BASIC_BIT, "GroupNonUniform" },
    { 62, SUBGROUP, VK_SUBGROUP_FEATURE_VOTE_BIT, "GroupNonUniformVote" },
    { 63, SUBGROUP, VK_SUBGROUP_FEATURE_ARITHMETIC_BIT, "GroupNonUniformArithmetic" },
    { 64, SUBGROUP, VK_SUBGROUP_FEATURE_BALLOT_BIT, "GroupNonUniformBallot" },
    { 65, SUBGROUP, VK_SUBGROUP_FEATURE_SHUFFLE_BIT, "GroupNonUniformShuffle" },
    { 66, SUBGROUP, VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT, "GroupNonUniformShuffleRelative" },
    { 67, SUBGROUP, VK_SUBGROUP_FEATURE_CLUSTERED_BIT, "GroupNonUniformClustered" },
    { 68, SUBGROUP, VK_SUBGROUP_FEATURE_QUAD_BIT, "GroupNonUniformQuad" },
    { 4464, CONTROL, 0, "DenormPreserve" },
    { 4465, CONTROL, 0, "DenormFlushToZero" },
    { 4466, CONTROL, 0, "SignedZeroInfNanPreserve" },
    { 4467, CONTROL, 0, "RoundingModeRTE" },
    { 4468, CONTROL, 0, "RoundingModeRTZ" },
    { 4, FEATURE, 0, "Addresses" },
    { 5, FEATURE, 0, "Linkage" },
    { 6, FEATURE, 0, "Kernel" },
    { 9, FEATURE, 0, "Float16" },
    { 10, FEATURE, 0, "Float64" },
    { 11, FEATURE, 0, "Int64" },
    { 12, FEATURE, 0, "Int64Atomics" },
    { 22, FEATURE, 0, "Int16" },
    { 39, FEATURE, 0, "Int8" },
    { 55, FEATURE, 0, "StorageImageReadWithoutFormat" },
    { 56, FEATURE, 0, "StorageImageWriteWithoutFormat" },
    { 4423, FEATURE, 0, "SubgroupBallotKHR" },
    { 4428, FEATURE, 0, "WorkgroupMemoryExplicitLayoutKHR" },
    { 4431, FEATURE, 0, "SubgroupVoteKHR" },
    { 4433, FEATURE, 0, "StorageBuffer16BitAccess" },
    { 4434, FEATURE, 0, "UniformAndStorageBuffer16BitAccess" },
    { 4435, FEATURE, 0, "StoragePushConstant16" },
    { 4441, FEATURE, 0, "VariablePointersStorageBuffer" },
    { 4442, FEATURE, 0, "VariablePointers" },
    { 4448, FEATURE, 0, "StorageBuffer8BitAccess" },
    { 4449, FEATURE, 0, "UniformAndStorageBuffer8BitAccess" },
    { 4450, FEATURE, 0, "StoragePushConstant8" },
    { 4479, FEATURE, 0, "RayTracingKHR" },
    { 4472, FEATURE, 0, "RayQueryKHR" },
    { 5055, FEATURE, 0, "ShaderClockKHR" },
    { 5301, ALWAYS, 0, "ShaderNonUniform" },
    { 5302, FEATURE, 0, "RuntimeDescriptorArray" },
    { 5345, FEATURE, 0, "VulkanMemoryModel" },
    { 5346, FEATURE, 0, "VulkanMemoryModelDeviceScope" },
    { 5347, FEATURE, 0, "PhysicalStorageBufferAddresses" },
    { 5357, FEATURE, 0, "CooperativeMatrixNV" },
    { 6016, FEATURE, 0, "DotProductInputAll" },
    { 6017, FEATURE, 0, "DotProductInput4x8Bit" },
    { 6018, FEATURE, 0, "DotProductInput4x8BitPacked" },
    { 6019, FEATURE, 0, "DotProduct" },
    { 6022, FEATURE, 0, "CooperativeMatrixKHR" },
    { 6026, FEATURE, 0, "GroupNonUniformRotateKHR" },
    { 6033, FEATURE, 0, "AtomicFloat32AddEXT" },
    { 6034, FEATURE, 0, "AtomicFloat64AddEXT" },
};

/* What a device is asked for only when it gets a kernel of a user's. */
typedef struct abilities {
    uint32_t api_version;
    VkPhysicalDeviceLimits limits;
    VkSubgroupFeatureFlags subgroup;
    bool controls[5]; /* as in the table */
} abilities;

static abilities abilities_of(const tuff_device *device) {
    VkPhysicalDeviceVulkan12Properties properties12 = { .sType =
                                                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES };
    VkPhysicalDeviceVulkan11Properties properties11 = { .sType =
                                                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
                                                        .pNext = &properties12 };
    VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &properties11 };
    device->instance.GetPhysicalDeviceProperties2(device->physical, &properties);
    uint32_t version = properties.properties.apiVersion;
    return (abilities){
        .api_version = version < device->instance.api_version ? version : device->instance.api_version,
        .limits = properties.properties.limits,
        .subgroup = properties11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT
                        ? properties11.subgroupSupportedOperations
                        : 0,
        .controls = { properties12.shaderDenormPreserveFloat32, properties12.shaderDenormFlushToZeroFloat32,
                      properties12.shaderSignedZeroInfNanPreserveFloat32, properties12.shaderRoundingModeRTEFloat32,
                      properties12.shaderRoundingModeRTZFloat32 },
    };
}

static const capability *find_capability(uint32_t number) {
    for (uint32_t i = 0; i < COUNT_OF(capabilities); i++)
        if (capabilities[i].number == number) return &capabilities[i];
    return NULL;
}

static tuff_result check_capability(const tuff_device *device, const char *name, const abilities *abilities,
                                    uint32_t number) {
    const capability *known = find_capability(number);
    capability_rule rule = known ? known->rule : FEATURE;
    if (rule == ALWAYS || (rule == SUBGROUP && (abilities->subgroup & known->detail) == known->detail)
        || (rule == CONTROL && abilities->controls[number - 4464]))
        return TUFF_OK;
    if (rule != FEATURE)
        return error_set(TUFF_ERROR_UNSUPPORTED, "operator '%s': its shader needs the capability %s, which %s lacks",
                         name, known->name, device->info.name);
    if (!device->owned) return TUFF_OK; /* what else a host opened its device with is known to the host alone */
    return error_set(TUFF_ERROR_UNSUPPORTED,
                     "operator '%s': its shader needs the capability %s%s(%u), which devices are not opened with; "
                     "float, int and uint of 32 bits work without",
                     name, known ? known->name : "", known ? " " : "", number);
}

static tuff_result check_sizes(const tuff_device *device, const char *name, const abilities *abilities,
                               const module_facts *facts) {
    const uint32_t *size = facts->local_size, *most = abilities->limits.maxComputeWorkGroupSize;
    const char *constants = facts->sized_by_constants ? ", with the specialization constants of its dispatch," : "";
    uint64_t all = 1;
    bool fits = true;
    for (uint32_t i = 0; i < 3; i++) {
        fits &= size[i] > 0 && size[i] <= most[i];
        all *= fits ? size[i] : 1;
    }
    if (!fits || all > abilities->limits.maxComputeWorkGroupInvocations)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "operator '%s': its shader's workgroup%s is %u x %u x %u; %s allows 1 to %u x %u x %u, and %u "
                         "together (256 run wherever Tuff runs)",
                         name, constants, size[0], size[1], size[2], device->info.name, most[0], most[1], most[2],
                         abilities->limits.maxComputeWorkGroupInvocations);
    if (facts->shared_bytes <= abilities->limits.maxComputeSharedMemorySize) return TUFF_OK;
    return error_set(TUFF_ERROR_UNSUPPORTED,
                     "operator '%s': its shader%s shares %llu bytes in a workgroup; %s allows %u (16384 run wherever "
                     "Tuff runs)",
                     name, constants, (unsigned long long)facts->shared_bytes, device->info.name,
                     abilities->limits.maxComputeSharedMemorySize);
}

static tuff_result check_bindings(const char *name, const module_facts *facts, uint32_t inputs, uint32_t outputs) {
    uint32_t declared = facts->readable | facts->writable;
    for (uint32_t i = 0; i < inputs; i++) /* one that the shader leaves out is just not read */
        if ((declared & ~facts->readable) >> i & 1)
            return error_set(
                TUFF_ERROR_ARGUMENT,
                "operator '%s': binding %u of its shader is writeonly, but it is input %u; the outputs are "
                "bindings %u to %u",
                name, i, i, inputs, inputs + outputs - 1);
    for (uint32_t i = 0; i < outputs; i++)
        if (!(facts->writable >> (inputs + i) & 1))
            return error_set(
                TUFF_ERROR_ARGUMENT,
                "operator '%s': its shader %s binding %u, which is output %u; the inputs are bindings 0 to "
                "%u, the outputs follow, and each must be written",
                name, declared >> (inputs + i) & 1 ? "cannot write" : "has no", inputs + i, i, inputs - 1);
    return TUFF_OK;
}

static tuff_result check_kernel(const tuff_device *device, const char *name, const module_facts *facts, uint32_t inputs,
                                uint32_t outputs) {
    const abilities abilities = abilities_of(device);
    uint32_t newest = abilities.api_version >= VK_API_VERSION_1_3 ? 0x10600 : 0x10500;
    if (facts->version > newest)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "operator '%s': it is SPIR-V %u.%u, %s takes 1.%u; compile for Vulkan 1.2 (glslang -V "
                         "--target-env vulkan1.2)",
                         name, facts->version >> 16, facts->version >> 8 & 255, device->info.name, newest >> 8 & 255);
    if (facts->local_size_by_id && device->owned)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "operator '%s': its workgroup's size is a LocalSizeId, which devices are not opened with; "
                         "compile for Vulkan 1.2 (glslang -V --target-env vulkan1.2)",
                         name);
    for (uint32_t i = 0; i < facts->capability_count; i++)
        TRY(check_capability(device, name, &abilities, facts->capabilities[i]));
    TRY(check_bindings(name, facts, inputs, outputs));
    if (facts->param_bytes > MAX_PARAMS * sizeof(uint32_t))
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': its shader's push constants take %u bytes; %d words of 4 bytes are possible "
                         "(an input can hold more)",
                         name, facts->param_bytes, MAX_PARAMS);
    return facts->sized_by_constants ? TUFF_OK : check_sizes(device, name, &abilities, facts);
}

tuff_result device_check_call(const tuff_device *device, const char *name, uint32_t kernel, const uint32_t *constants,
                              uint32_t constant_count, uint32_t param_count) {
    const struct user_kernel *user = &device->kernels[kernel - KERNEL_COUNT];
    uint32_t words = (user->facts.param_bytes + 3) / 4;
    if (param_count < words)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': its dispatch gives %u words of push constants, its shader's block has %u; set "
                         "params and param_count",
                         name, param_count, words);
    if (!user->facts.sized_by_constants) return TUFF_OK;
    module_facts facts;
    TRY(module_read(name, user->code.words, user->code.size, user->bindings, constants, constant_count, &facts));
    const abilities abilities = abilities_of(device);
    return check_sizes(device, name, &abilities, &facts);
}

/* ---- keeping them ------------------------------------------------------------------------------- */

tuff_result device_add_kernel(tuff_device *device, const char *name, const uint32_t *words, size_t size,
                              uint32_t inputs, uint32_t outputs, uint32_t *kernel) {
    module_facts facts;
    TRY(module_read(name, words, size, inputs + outputs, NULL, 0, &facts));
    TRY(check_kernel(device, name, &facts, inputs, outputs));
    for (uint32_t i = 0; i < device->kernel_count; i++)
        if (device->kernels[i].code.size == size && memcmp(device->kernels[i].code.words, words, size) == 0) {
            *kernel = KERNEL_COUNT + i;
            return TUFF_OK;
        }
    struct user_kernel *moved = realloc(device->kernels, (device->kernel_count + 1) * sizeof *moved);
    if (!moved) return error_out_of_host_memory((device->kernel_count + 1) * sizeof *moved);
    device->kernels = moved;
    size_t name_size = strlen(name) + 1;
    uint32_t *copy = malloc(size);
    char *name_copy = malloc(name_size);
    if (!copy || !name_copy) {
        free(copy);
        free(name_copy);
        return error_out_of_host_memory(size);
    }
    memcpy(copy, words, size);
    memcpy(name_copy, name, name_size);
    device->kernels[device->kernel_count] =
        (struct user_kernel){ { name_copy, copy, size, false }, facts, inputs + outputs };
    *kernel = KERNEL_COUNT + device->kernel_count++;
    return TUFF_OK;
}

void kernels_finish(tuff_device *device) {
    for (uint32_t i = 0; i < device->kernel_count; i++) {
        free((void *)(uintptr_t)device->kernels[i].code.name);
        free((void *)(uintptr_t)device->kernels[i].code.words);
    }
    free(device->kernels);
}
